//! Colours, sizes and text styles, light and dark; the same as the page around the browser tab (`web/index.html`).

use egui::{Color32, CornerRadius, FontFamily, FontId, Margin, Stroke, TextStyle, Theme, Visuals, vec2};

/// Colours of one theme.
#[derive(Clone, Copy, Debug)]
pub struct Palette {
    /// Behind everything.
    pub paper: Color32,
    /// Panels.
    pub panel: Color32,
    /// Text fields, slider rails.
    pub well: Color32,
    /// Text.
    pub ink: Color32,
    /// Text of less weight.
    pub soft: Color32,
    /// Lines between things.
    pub line: Color32,
    /// What to press.
    pub fill: Color32,
    /// Text on `fill`.
    pub on_fill: Color32,
    /// All is well.
    pub good: Color32,
    /// Look here.
    pub warn: Color32,
    /// Something failed.
    pub bad: Color32,
}

const DARK: Palette = Palette {
    paper: Color32::from_rgb(0x12, 0x14, 0x18),
    panel: Color32::from_rgb(0x1a, 0x1d, 0x23),
    well: Color32::from_rgb(0x10, 0x12, 0x16),
    ink: Color32::from_rgb(0xec, 0xea, 0xe4),
    soft: Color32::from_rgb(0x9a, 0xa0, 0xae),
    line: Color32::from_rgb(0x34, 0x39, 0x44),
    fill: Color32::from_rgb(0xff, 0x8a, 0x3d),
    on_fill: Color32::from_rgb(0x1c, 0x10, 0x06),
    good: Color32::from_rgb(0x6f, 0xc2, 0x8a),
    warn: Color32::from_rgb(0xf0, 0xc0, 0x5a),
    bad: Color32::from_rgb(0xff, 0x7b, 0x72),
};

const LIGHT: Palette = Palette {
    paper: Color32::from_rgb(0xe9, 0xe9, 0xe4),
    panel: Color32::from_rgb(0xf7, 0xf7, 0xf4),
    well: Color32::from_rgb(0xff, 0xff, 0xff),
    ink: Color32::from_rgb(0x1d, 0x20, 0x26),
    soft: Color32::from_rgb(0x5d, 0x62, 0x70),
    line: Color32::from_rgb(0xd0, 0xd0, 0xc8),
    fill: Color32::from_rgb(0xb8, 0x4f, 0x0f),
    on_fill: Color32::WHITE,
    good: Color32::from_rgb(0x1e, 0x7d, 0x45),
    warn: Color32::from_rgb(0x94, 0x62, 0x00),
    bad: Color32::from_rgb(0xb8, 0x2a, 0x20),
};

/// The colours in use.
pub fn palette(ui: &egui::Ui) -> Palette {
    if ui.visuals().dark_mode { DARK } else { LIGHT }
}

fn visuals(theme: Theme) -> Visuals {
    let (mut v, p) = match theme {
        Theme::Dark => (Visuals::dark(), DARK),
        Theme::Light => (Visuals::light(), LIGHT),
    };
    v.panel_fill = p.panel;
    v.window_fill = p.panel;
    v.window_stroke = Stroke::new(1.0, p.line);
    v.extreme_bg_color = p.well;
    v.faint_bg_color = p.paper;
    v.code_bg_color = p.well;
    v.warn_fg_color = p.warn;
    v.error_fg_color = p.bad;
    v.hyperlink_color = p.fill;
    v.weak_text_color = Some(p.soft);
    v.selection.bg_fill = p.fill.gamma_multiply(0.35);
    v.selection.stroke = Stroke::new(1.0, p.ink);
    v.slider_trailing_fill = true;
    v.window_corner_radius = CornerRadius::same(10);
    v.menu_corner_radius = CornerRadius::same(8);
    let round = CornerRadius::same(6);
    let between = |a: Color32, b: Color32, t: f32| a.lerp_to_gamma(b, t);
    let states = &mut v.widgets;
    for (state, fill, edge, text) in [
        (&mut states.noninteractive, p.panel, p.line, p.ink),
        // Text fields are told from the panel by this line.
        (&mut states.inactive, between(p.panel, p.soft, 0.16), p.line, p.ink),
        (&mut states.hovered, between(p.panel, p.soft, 0.30), p.soft, p.ink),
        (&mut states.active, between(p.panel, p.fill, 0.55), p.fill, p.ink),
        (&mut states.open, between(p.panel, p.soft, 0.22), p.line, p.ink),
    ] {
        state.bg_fill = fill;
        state.weak_bg_fill = fill;
        state.bg_stroke = Stroke::new(1.0, edge);
        state.fg_stroke = Stroke::new(1.2, text);
        state.corner_radius = round;
        state.expansion = 0.0;
    }
    v
}

/// Installs both themes.
pub fn install(context: &egui::Context) {
    for theme in [Theme::Dark, Theme::Light] {
        context.set_visuals_of(theme, visuals(theme));
    }
    context.all_styles_mut(|style| {
        style.spacing.item_spacing = vec2(8.0, 7.0);
        style.spacing.button_padding = vec2(9.0, 4.0);
        style.spacing.interact_size.y = 24.0;
        style.spacing.window_margin = Margin::same(12);
        style.spacing.menu_margin = Margin::same(8);
        style.spacing.slider_rail_height = 5.0;
        style.spacing.tooltip_width = 340.0;
        // Bars beside what they scroll, not over it.
        style.spacing.scroll.floating_allocated_width = 8.0;
        style.text_styles = [
            (TextStyle::Small, FontId::new(11.0, FontFamily::Proportional)),
            (TextStyle::Body, FontId::new(13.5, FontFamily::Proportional)),
            (TextStyle::Button, FontId::new(13.5, FontFamily::Proportional)),
            (TextStyle::Heading, FontId::new(17.0, FontFamily::Proportional)),
            (TextStyle::Monospace, FontId::new(12.5, FontFamily::Monospace)),
        ]
        .into();
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    /// WCAG 2.2's contrast of two colours.
    fn contrast(a: Color32, b: Color32) -> f32 {
        let luminance = |c: Color32| {
            let [r, g, b, _] = egui::Rgba::from(c).to_array();
            0.2126 * r + 0.7152 * g + 0.0722 * b + 0.05
        };
        let (a, b) = (luminance(a), luminance(b));
        a.max(b) / a.min(b)
    }

    #[test]
    fn text_can_be_read() {
        for p in [DARK, LIGHT] {
            // WCAG's level AA for text of ordinary size; a line around a field has to be seen, not read.
            for (text, ground) in [(p.on_fill, p.fill), (p.fill, p.panel), (p.ink, p.panel), (p.soft, p.panel)] {
                assert!(contrast(text, ground) >= 4.5, "{text:?} on {ground:?}: {}", contrast(text, ground));
            }
            for text in [p.good, p.warn, p.bad] {
                assert!(contrast(text, p.panel) >= 4.5, "{text:?}: {}", contrast(text, p.panel));
            }
            assert!(contrast(p.line, p.well) >= 1.4, "{:?} around fields", p.line);
        }
    }
}
