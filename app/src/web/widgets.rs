//! The widgets of a frame, from egui's accessibility tree: what a script needs to find a button by its name and click it.

use egui::accesskit::{Node, TreeUpdate};
use egui::{Context, FullOutput, Plugin};
use serde_json::{Value, json};

/// Keeps the newest tree.
#[derive(Default)]
struct Tree(Option<TreeUpdate>);

impl Plugin for Tree {
    fn debug_name(&self) -> &'static str {
        "widgets for scripts"
    }

    fn output_hook(&mut self, _context: &Context, output: &mut FullOutput) {
        if let Some(update) = &output.platform_output.accesskit_update {
            self.0 = Some(update.clone());
        }
    }
}

/// The widgets with their places in the page's pixels; null until a frame was drawn after the first call. The tree costs time in
/// every frame, so none is made before somebody asks.
pub fn list(context: &Context) -> Value {
    if context.with_plugin(|_: &mut Tree| ()).is_none() {
        context.add_plugin(Tree::default());
        context.enable_accesskit();
        context.request_repaint();
    }
    // Places are in points; the page's pixels are larger or smaller by the zoom alone.
    let zoom = f64::from(context.zoom_factor());
    let tree = context.with_plugin(|tree: &mut Tree| {
        let nodes = &tree.0.as_ref()?.nodes;
        Some(nodes.iter().filter_map(|(_, node)| describe(node, zoom)).collect::<Vec<_>>())
    });
    tree.flatten().into()
}

fn describe(node: &Node, zoom: f64) -> Option<Value> {
    let at = node.bounds()?;
    let label = node.label().or_else(|| node.description()).unwrap_or_default();
    let value = node.value().map(Value::from).or_else(|| node.numeric_value().map(Value::from));
    (!label.is_empty() || value.is_some()).then(|| {
        json!({
            "role": format!("{:?}", node.role()),
            "label": label,
            "value": value,
            "range": node.min_numeric_value().zip(node.max_numeric_value()).map(|(a, b)| [a, b]),
            "disabled": node.is_disabled(),
            "on": node.toggled().map(|t| t == egui::accesskit::Toggled::True).or(node.is_selected()),
            "x": at.x0 * zoom, "y": at.y0 * zoom, "width": at.width() * zoom, "height": at.height() * zoom,
        })
    })
}
