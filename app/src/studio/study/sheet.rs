//! A grid as one picture, its labels written with the program's own font.

use admix_engine::Picture;
use egui::{Color32, Context, FontId};

use super::{State, Study};

/// Longest edge of the sheet; cells shrink to keep to it.
const LARGEST: usize = 8192;
/// Height of the letters in pixels.
const LETTER: f32 = 15.0;
/// Space around words and between pages.
const GAP: usize = 10;

const PAPER: [u8; 3] = [255, 255, 255];
const HOLE: [u8; 3] = [225, 225, 225];

/// An RGB picture that is drawn into.
struct Sheet(Picture);

impl Sheet {
    fn new(width: usize, height: usize) -> Sheet {
        Sheet(Picture { width, height, rgb: PAPER.repeat(width * height) })
    }

    fn fill(&mut self, [x, y]: [usize; 2], [w, h]: [usize; 2], color: [u8; 3]) {
        for row in y..(y + h).min(self.0.height) {
            for column in x..(x + w).min(self.0.width) {
                let at = (row * self.0.width + column) * 3;
                self.0.rgb[at..at + 3].copy_from_slice(&color);
            }
        }
    }

    fn put(&mut self, picture: &Picture, [x, y]: [usize; 2]) {
        let width = picture.width.min(self.0.width.saturating_sub(x));
        for row in 0..picture.height.min(self.0.height.saturating_sub(y)) {
            let (from, to) = (row * picture.width * 3, ((y + row) * self.0.width + x) * 3);
            self.0.rgb[to..to + width * 3].copy_from_slice(&picture.rgb[from..from + width * 3]);
        }
    }

    /// Lays coverage (0 to 1) as black ink.
    fn ink(&mut self, x: isize, y: isize, coverage: f32) {
        let inside = |v: isize, end: usize| usize::try_from(v).ok().filter(|v| *v < end);
        let (Some(x), Some(y)) = (inside(x, self.0.width), inside(y, self.0.height)) else { return };
        let at = (y * self.0.width + x) * 3;
        for value in &mut self.0.rgb[at..at + 3] {
            *value = (f32::from(*value) * (1.0 - coverage)).round() as u8;
        }
    }
}

/// One line of text as coverage: width, height and what is inked.
struct Line {
    size: [usize; 2],
    dots: Vec<(isize, isize, f32)>,
}

/// Sets lines with the fonts of the window.
fn set(context: &Context, lines: &[String]) -> Vec<Line> {
    let scale = context.pixels_per_point();
    context.fonts_mut(|fonts| {
        let font = FontId::proportional(LETTER / scale);
        let galleys: Vec<_> =
            lines.iter().map(|l| fonts.layout_no_wrap(l.clone(), font.clone(), Color32::BLACK)).collect();
        // After the layout, so that every glyph is in it.
        let atlas = fonts.image();
        let line = |galley: &std::sync::Arc<egui::Galley>| {
            let mut dots = Vec::new();
            for row in &galley.rows {
                for glyph in row.glyphs.iter().filter(|g| !g.uv_rect.is_nothing()) {
                    let uv = glyph.uv_rect;
                    let corner = (row.pos.to_vec2() + glyph.pos.to_vec2() + uv.offset) * scale;
                    for v in uv.min[1]..uv.max[1] {
                        for u in uv.min[0]..uv.max[0] {
                            let alpha = atlas.pixels[usize::from(v) * atlas.size[0] + usize::from(u)].a();
                            if alpha > 0 {
                                let x = corner.x.round() as isize + isize::from((u - uv.min[0]) as i16);
                                let y = corner.y.round() as isize + isize::from((v - uv.min[1]) as i16);
                                dots.push((x, y, f32::from(alpha) / 255.0));
                            }
                        }
                    }
                }
            }
            let size = galley.size() * scale;
            Line { size: [size.x.ceil() as usize, size.y.ceil() as usize], dots }
        };
        galleys.iter().map(line).collect()
    })
}

/// The whole study: pages side by side, columns named above, rows to the left, the axes' names in the corner. None until a picture is there.
pub fn sheet(context: &Context, study: &Study) -> Option<Picture> {
    let [columns, rows, pages] = study.axes.each_ref().map(super::Axis::len);
    let size = study.picture_size()?;
    let named = |i: usize, at: usize| match study.axes[i].name.is_empty() {
        true => study.axes[i].label(at),
        false => format!("{}: {}", study.axes[i].name, study.axes[i].label(at)),
    };
    let above = set(context, &(0..columns).map(|c| named(0, c)).collect::<Vec<_>>());
    let beside = set(context, &(0..rows).map(|r| named(1, r)).collect::<Vec<_>>());
    let over = set(context, &(0..pages).map(|p| named(2, p)).collect::<Vec<_>>());
    let has = |i: usize| !study.axes[i].values.is_empty();
    let height = above.iter().chain(&beside).chain(&over).map(|l| l.size[1]).max().unwrap_or(0) + GAP;
    let left = if has(1) { beside.iter().map(|l| l.size[0]).max().unwrap_or(0) + 2 * GAP } else { 0 };
    let top = height * (usize::from(has(0)) + usize::from(has(2)));
    // Wide enough for the words above, small enough for any viewer.
    let room = (LARGEST - LARGEST / 8) / (columns * pages).max(rows);
    let shrink = (room as f64 / size[0].max(size[1]) as f64).min(1.0);
    let cell = size.map(|n| ((n as f64 * shrink) as usize).max(16));
    let words = if has(0) { above.iter().map(|l| l.size[0] + GAP).max().unwrap_or(0) } else { 0 };
    let pitch = [cell[0].max(words.min(2 * cell[0])) + 2, cell[1] + 2];
    let page = [left + pitch[0] * columns, top + pitch[1] * rows];
    let mut out = Sheet::new(pages * (page[0] + GAP) - GAP, page[1]);
    let write = |out: &mut Sheet, line: &Line, x: usize, y: usize| {
        for (dx, dy, coverage) in &line.dots {
            out.ink(x as isize + dx, y as isize + dy, *coverage);
        }
    };
    let middle = |from: usize, room: usize, length: usize| from + room.saturating_sub(length) / 2;
    for (p, title) in over.iter().enumerate() {
        let x0 = p * (page[0] + GAP);
        if has(2) {
            write(&mut out, title, middle(x0, page[0], title.size[0]), GAP / 2);
        }
        for (c, title) in above.iter().enumerate() {
            if has(0) {
                let x = middle(x0 + left + c * pitch[0], pitch[0], title.size[0]);
                write(&mut out, title, x, top - height + GAP / 2);
            }
            for r in 0..rows {
                let at = [middle(x0 + left + c * pitch[0], pitch[0], cell[0]), top + r * pitch[1]];
                match &study.cells[(p * rows + r) * columns + c].state {
                    State::Done(finished, _) if !finished.pictures.is_empty() => {
                        out.put(&finished.pictures[0].resized(cell[0], cell[1]), at);
                    }
                    _ => out.fill(at, cell, HOLE),
                }
            }
        }
        for (r, title) in beside.iter().enumerate().filter(|_| has(1)) {
            write(&mut out, title, x0 + GAP, middle(top + r * pitch[1], pitch[1], title.size[1]));
        }
    }
    Some(out.0)
}
