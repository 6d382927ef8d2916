//! What the studio looks like, held against kept pictures (`pictures/`). `UPDATE_SNAPSHOTS=1` writes them anew: look at them before they go in.
//!
//! Everything is drawn with the fonts that egui carries, and nothing that a device computes is in sight. What drivers do differently is the
//! last bit of soft edges: pictures are compared as means over squares of 4 pixels, where that is a level or two of 255, while a control
//! that moved by a pixel changes the squares along its edges by twenty and more.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use admix_engine::Picture;
use admix_engine::tensor::Gpu;
use eframe::egui_wgpu::{Renderer, RendererOptions, ScreenDescriptor};
use eframe::wgpu;
use egui::{Theme, Vec2, vec2};
use egui_kittest::{Harness, TestRenderer};

use super::{gpu, paint, until};
use crate::studio::Studio;
use crate::studio::history::History;
use crate::studio::notices::Fix;
use crate::studio::prefs::{Prefs, Saved};

/// Pixels along a square.
const SQUARE: usize = 4;
/// What a square may differ by.
const LEVELS: f32 = 8.0;
/// Squares that may differ by more: a soft edge that falls on the other side of a pixel.
const MOST: f32 = 0.002;
/// The top bar names the device: points from the top that are left out.
const BAR: f32 = 48.0;

/// egui's textures on the device, kept up to date frame by frame.
struct Painter(Arc<Mutex<Renderer>>, Arc<Gpu>);

impl TestRenderer for Painter {
    fn handle_delta(&mut self, delta: &mut egui::TexturesDelta) {
        let mut renderer = self.0.lock().expect("nobody panics with it");
        for (id, images) in delta.set.drain() {
            for image in images {
                renderer.update_texture(&self.1.device, &self.1.queue, id, &image);
            }
        }
        for id in delta.free.drain() {
            renderer.free_texture(&id);
        }
    }
}

const FORMAT: wgpu::TextureFormat = wgpu::TextureFormat::Rgba8Unorm;

struct Screen {
    harness: Harness<'static, Studio>,
    renderer: Arc<Mutex<Renderer>>,
    gpu: Arc<Gpu>,
}

/// A studio in a window of a width that is a multiple of 64, so that rows of pixels can be copied as they are.
fn screen(size: Vec2, theme: Theme, saved: Saved) -> Screen {
    let gpu = gpu();
    let renderer = Renderer::new(&gpu.device, FORMAT, RendererOptions::PREDICTABLE);
    let renderer = Arc::new(Mutex::new(renderer));
    let studio = Studio::with(egui::Context::default(), gpu.clone(), saved, History::default());
    let harness = Harness::builder()
        .with_size(size)
        .renderer(Painter(renderer.clone(), gpu.clone()))
        .build_ui_state(|ui, studio: &mut Studio| studio.frame(ui), studio);
    // The harness's window has a context of its own.
    crate::studio::theme::install(&harness.ctx);
    harness.ctx.set_theme(theme);
    Screen { harness, renderer, gpu }
}

impl Screen {
    /// Frames until everything has come that comes by itself: cards, token counts, the ends of animations.
    fn settle(&mut self) {
        let (h, base) = (&mut self.harness, "builtin:mini");
        until(h, "the model's card", |s| s.shelf.find(base).is_some_and(|i| i.card.is_some()) && !s.desk.is_busy());
        h.run_steps(40);
        until(h, "rest", |s| !s.desk.is_busy());
        h.run_steps(4);
    }

    fn draw(&mut self) -> Picture {
        let (harness, gpu) = (&self.harness, &self.gpu);
        let mut renderer = self.renderer.lock().expect("nobody panics with it");
        let scale = harness.ctx.pixels_per_point();
        let size = harness.ctx.content_rect().size() * scale;
        let [width, height] = [size.x.round() as u32, size.y.round() as u32];
        assert!(width.is_multiple_of(64));
        let screen = ScreenDescriptor { pixels_per_point: scale, size_in_pixels: [width, height] };
        let shapes = harness.ctx.tessellate(harness.output().shapes.clone(), scale);
        let mut encoder = gpu.device.create_command_encoder(&Default::default());
        let more = renderer.update_buffers(&gpu.device, &gpu.queue, &mut encoder, &shapes, &screen);
        let extent = wgpu::Extent3d { width, height, depth_or_array_layers: 1 };
        let texture = gpu.device.create_texture(&wgpu::TextureDescriptor {
            label: Some("screen"),
            size: extent,
            mip_level_count: 1,
            sample_count: 1,
            dimension: wgpu::TextureDimension::D2,
            format: FORMAT,
            usage: wgpu::TextureUsages::RENDER_ATTACHMENT | wgpu::TextureUsages::COPY_SRC,
            view_formats: &[],
        });
        let view = texture.create_view(&Default::default());
        {
            let ops = wgpu::Operations { load: wgpu::LoadOp::Clear(wgpu::Color::BLACK), store: wgpu::StoreOp::Store };
            let target = wgpu::RenderPassColorAttachment { view: &view, resolve_target: None, ops, depth_slice: None };
            let pass = wgpu::RenderPassDescriptor { color_attachments: &[Some(target)], ..Default::default() };
            renderer.render(&mut encoder.begin_render_pass(&pass).forget_lifetime(), &shapes, &screen);
        }
        let bytes = u64::from(width * height * 4);
        let buffer = gpu.create_buffer("pixels", bytes).expect("fits");
        let layout = wgpu::TexelCopyBufferLayout { offset: 0, bytes_per_row: Some(width * 4), rows_per_image: None };
        encoder.copy_texture_to_buffer(
            texture.as_image_copy(),
            wgpu::TexelCopyBufferInfo { buffer: &buffer, layout },
            extent,
        );
        gpu.queue.submit(more.into_iter().chain([encoder.finish()]));
        let pixels = pollster::block_on(gpu.read_bytes(&buffer, 0, bytes)).expect("reads back");
        let bar = (BAR * scale) as usize;
        let rgb = pixels.chunks_exact(4).skip(bar * width as usize).flat_map(|p| [p[0], p[1], p[2]]).collect();
        Picture { width: width as usize, height: height as usize - bar, rgb }
    }

    /// Compares what is on the screen with the picture of that name.
    fn check(&mut self, name: &str) {
        self.settle();
        let now = self.draw();
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/studio/tests/pictures");
        let path = folder.join(format!("{name}.png"));
        let write = |path: &PathBuf| {
            std::fs::write(path, now.to_png(&[]).expect("encodes")).expect("the picture can be written");
        };
        if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
            return write(&path);
        }
        let kept =
            std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}; UPDATE_SNAPSHOTS=1 makes it", path.display()));
        let kept = Picture::decode(&kept, name).expect("a PNG");
        assert_eq!((now.width, now.height), (kept.width, kept.height), "{name}: another size");
        let (a, b) = (squares(&now), squares(&kept));
        let different = a.iter().zip(&b).filter(|(a, b)| (*a - *b).abs() > LEVELS).count();
        let part = different as f32 / a.len() as f32;
        if part > MOST {
            let beside = std::env::temp_dir().join(format!("admix-{name}.png"));
            write(&beside);
            panic!(
                "{name}: {:.2}% of the picture looks different; compare {} with {}",
                part * 100.0,
                beside.display(),
                path.display()
            );
        }
    }
}

/// Means over squares, by channel.
fn squares(picture: &Picture) -> Vec<f32> {
    let (columns, rows) = (picture.width / SQUARE, picture.height / SQUARE);
    let mut sums = vec![0.0; columns * rows * 3];
    for y in 0..rows * SQUARE {
        for x in 0..columns * SQUARE {
            for c in 0..3 {
                let at = (y / SQUARE * columns + x / SQUARE) * 3 + c;
                sums[at] += f32::from(picture.rgb[(y * picture.width + x) * 3 + c]);
            }
        }
    }
    sums.iter().map(|sum| sum / (SQUARE * SQUARE) as f32).collect()
}

const WIDE: Vec2 = vec2(1280.0, 820.0);
const PHONE: Vec2 = vec2(384.0, 800.0);

/// All panels open, a merge, an adapter, a picture in the history.
fn mixing(size: Vec2, theme: Theme) -> Screen {
    let open = Prefs {
        shelf_open: true,
        history_open: true,
        mix_open: true,
        guide_open: true,
        begun: true,
        ..Prefs::default()
    };
    let mut screen = screen(size, theme, Saved { prefs: open, ..Saved::default() });
    let studio = screen.harness.state_mut();
    studio.document.set_second(Some("builtin:twemoji"));
    studio.document.recipe.merge[0].models[0].weight = 0.3;
    studio.document.add_adapter("builtin:neon");
    paint(studio);
    screen
}

#[test]
fn a_first_start() {
    for (theme, name) in [(Theme::Light, "first-light"), (Theme::Dark, "first-dark")] {
        screen(WIDE, theme, Saved::default()).check(name);
    }
}

#[test]
fn all_panels() {
    mixing(WIDE, Theme::Light).check("mixing-light");
    mixing(vec2(1280.0, 1000.0), Theme::Dark).check("mixing-dark");
}

#[test]
fn a_small_window_cuts_nothing() {
    let mut screen = mixing(vec2(1024.0, 640.0), Theme::Light);
    screen.harness.state_mut().prefs.guide_open = false;
    screen.check("small-light");
}

#[test]
fn a_comparison_names_what_differs() {
    let mut screen = mixing(WIDE, Theme::Dark);
    let studio = screen.harness.state_mut();
    let before = studio.canvas.shown.expect("a picture");
    studio.document.recipe.sample.seed = Some(7);
    paint(studio);
    studio.canvas.compare_with(before);
    studio.notices.add(crate::studio::notices::Level::Warning, "A warning over the picture", Vec::new());
    screen.check("compared");
}

#[test]
fn a_narrow_screen_shows_the_picture_first() {
    let mut screen = mixing(PHONE, Theme::Light);
    screen.check("narrow-prompt");
    screen.harness.state_mut().prefs.narrow_tab = 3;
    screen.check("narrow-mix");
    screen.harness.state_mut().prefs.narrow_tab = 2;
    screen.check("narrow-history");
}

#[test]
fn everything_grows_with_the_zoom() {
    let mut screen = mixing(WIDE, Theme::Light);
    screen.harness.ctx.set_zoom_factor(1.5);
    screen.check("zoomed");
}

#[test]
fn an_error_with_its_fix_over_the_canvas() {
    let mut screen = mixing(WIDE, Theme::Light);
    let text = "the size 100x128 does not work: both edges must be multiples of 8";
    screen.harness.state_mut().notices.error_with(text.to_string(), Some(Fix::NativeSize));
    screen.check("error");
}
