//! The window's graphics device goes away: a driver is renewed, a card is taken out. egui draws on it too, so the window is closed and opened
//! again on another device, with everything that was made.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use eframe::wgpu;
use egui::{Context, ViewportCommand};

use super::Studio;
use super::carried::Carried;

/// What one window leaves to the next: everything made, and why it closed.
pub(super) type Legacy = Arc<Mutex<Option<(Carried, String)>>>;

/// Losses in a row that are made good; a device that is lost as soon as it is opened is lost for good.
const MOST: usize = 3;
/// Seconds between two losses for them not to count as in a row.
const APART: u64 = 30;

/// Word of the loss of a device.
#[derive(Default)]
pub(super) struct Loss {
    reason: Arc<Mutex<Option<String>>>,
    /// Somebody asked for it. Otherwise only the end of the program destroys a device.
    is_expected: Arc<AtomicBool>,
    /// Everything was left to the next window.
    is_leaving: bool,
    /// Where the studio leaves what it has; none in tests, which have no window to open again.
    pub legacy: Option<Legacy>,
}

impl Loss {
    /// Hears of the loss of `device`.
    pub fn watch(&self, device: &wgpu::Device, context: &Context) {
        let (slot, is_expected, context) = (self.reason.clone(), self.is_expected.clone(), context.clone());
        device.set_device_lost_callback(move |reason, text| {
            if reason == wgpu::DeviceLostReason::Unknown || is_expected.load(Ordering::Relaxed) {
                *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
                context.request_repaint();
            }
        });
    }

    /// The device is to be destroyed on purpose, at the beginning of the next frame.
    pub fn expect(&self) {
        self.is_expected.store(true, Ordering::Relaxed);
    }
}

impl Studio {
    /// Leaves everything to the next window and closes this one, if its device was lost. True: nothing may be drawn any more, egui's painter does not
    /// survive shapes on a lost device.
    pub(super) fn leave_if_lost(&mut self, context: &Context) -> bool {
        let Some(legacy) = self.loss.legacy.clone() else { return false };
        let mut reason = self.loss.reason.lock().unwrap_or_else(PoisonError::into_inner).take();
        if self.loss.is_expected.load(Ordering::Relaxed) && !self.loss.is_leaving {
            self.gpu.device.destroy();
            reason = Some("it was given back".into());
        }
        if let (Some(reason), false) = (reason, self.loss.is_leaving) {
            self.loss.is_leaving = true;
            *legacy.lock().unwrap_or_else(PoisonError::into_inner) = Some((self.leave(), reason));
        }
        if self.loss.is_leaving {
            context.send_viewport_cmd(ViewportCommand::Close);
        }
        self.loss.is_leaving
    }
}

/// Counts losses in a row.
#[derive(Default)]
pub(super) struct Losses {
    count: usize,
    last: Option<std::time::Instant>,
}

impl Losses {
    /// One more: false if there is no use in another attempt.
    pub fn may_go_on(&mut self) -> bool {
        let is_apart = self.last.is_none_or(|at| at.elapsed().as_secs() >= APART);
        self.count = if is_apart { 1 } else { self.count + 1 };
        self.last = Some(std::time::Instant::now());
        self.count <= MOST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_never_stays_is_given_up() {
        let mut losses = Losses::default();
        assert_eq!([(); 4].map(|()| losses.may_go_on()), [true, true, true, false]);
    }
}
