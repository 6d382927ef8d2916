//! The window around the studio, and the device it shares with the engine.

use std::collections::VecDeque;
use std::sync::Arc;
#[cfg(not(target_arch = "wasm32"))]
use std::sync::PoisonError;

#[cfg(not(target_arch = "wasm32"))]
use super::loss::{Legacy, Losses};
#[cfg(not(target_arch = "wasm32"))]
use crate::io::dropped::Incoming;
#[cfg(not(target_arch = "wasm32"))]
use crate::io::{kept, store};
use eframe::egui_wgpu::{WgpuConfiguration, WgpuSetup, WgpuSetupCreateNew};

/// How the window opens its device: the adapter's own limits, so that the engine can use all of it.
pub fn wgpu_options() -> WgpuConfiguration {
    let mut setup = WgpuSetupCreateNew::without_display_handle();
    // GL has no compute worth the name; WebGPU and the native interfaces are in PRIMARY.
    setup.instance_descriptor.backends &= eframe::wgpu::Backends::PRIMARY;
    setup.device_descriptor = Arc::new(|adapter| admix_engine::tensor::device_descriptor(adapter, false));
    WgpuConfiguration { wgpu_setup: WgpuSetup::CreateNew(setup), ..WgpuConfiguration::default() }
}

/// Where the program keeps what it makes. Tests and trial runs name a place of their own.
#[cfg(not(any(target_arch = "wasm32", test)))]
pub fn data_folder() -> Option<std::path::PathBuf> {
    match std::env::var_os("ADMIX_DATA") {
        Some(path) => Some(path.into()),
        None => eframe::storage_dir(store::APP_ID),
    }
}

/// How long the newest frames took, those drawn while something renders apart.
#[derive(Default)]
pub struct FrameTimes {
    idle: VecDeque<f32>,
    busy: VecDeque<f32>,
}

/// Frames remembered.
const FRAMES: usize = 600;

impl FrameTimes {
    /// Notes a frame.
    pub fn note(&mut self, seconds: f64, is_busy: bool) {
        let times = if is_busy { &mut self.busy } else { &mut self.idle };
        times.push_back((seconds * 1e3) as f32);
        if times.len() > FRAMES {
            times.pop_front();
        }
    }

    /// Milliseconds that 95 of 100 frames stay under while something renders, and while nothing does; with the number of frames.
    pub fn p95(&self) -> [(f32, usize); 2] {
        [&self.busy, &self.idle].map(|times| {
            let mut sorted: Vec<f32> = times.iter().copied().collect();
            sorted.sort_by(f32::total_cmp);
            (sorted.get(sorted.len() * 95 / 100).copied().unwrap_or(0.0), sorted.len())
        })
    }
}

/// Opens the window and returns when it is closed. Errors: no display, no graphics device.
#[cfg(not(target_arch = "wasm32"))]
pub fn run(files: &[std::path::PathBuf]) -> Result<(), String> {
    let viewport = egui::ViewportBuilder::default()
        .with_title("Admix")
        .with_app_id(store::APP_ID)
        .with_inner_size([1280.0, 820.0])
        .with_min_inner_size([360.0, 420.0])
        .with_drag_and_drop(true);
    let persistence_path = std::env::var_os("ADMIX_DATA").map(|d| std::path::PathBuf::from(d).join("studio.ron"));
    let options = eframe::NativeOptions {
        viewport,
        renderer: eframe::Renderer::Wgpu,
        wgpu_options: wgpu_options(),
        persistence_path,
        ..Default::default()
    };
    let mut files = files.to_vec();
    let mut keys = pollster::block_on(store::keys(kept::HISTORY)).unwrap_or_else(|error| {
        log::warn!("{error}");
        Vec::new()
    });
    let legacy = Legacy::default();
    let take = || legacy.lock().unwrap_or_else(PoisonError::into_inner).take();
    let mut losses = Losses::default();
    let mut left: Option<(super::Carried, String)> = None;
    loop {
        let (files, keys) = (std::mem::take(&mut files), std::mem::take(&mut keys));
        let (next, carried) = (legacy.clone(), left.take());
        let create = move |creation: &eframe::CreationContext<'_>| {
            let mut studio = super::Studio::new(creation, keys)?;
            studio.loss.legacy = Some(next);
            studio.take_files(files.iter().map(|f| crate::io::dropped::from_path(f)));
            if let Some((carried, reason)) = carried {
                studio.join(carried);
                studio.inbox.put(Incoming::lost(&reason));
            }
            Ok(Box::new(studio) as Box<dyn eframe::App>)
        };
        eframe::run_native("Admix", options.clone(), Box::new(create)).map_err(|error| {
            format!("the window cannot open: {error}; the command line works without one (admix render --help)")
        })?;
        left = take();
        match &left {
            None => return Ok(()),
            Some((_, reason)) if !losses.may_go_on() => {
                return Err(format!(
                    "the graphics device is lost again and again ({reason}); settings and pictures are kept"
                ));
            }
            Some(_) => {}
        }
    }
}
