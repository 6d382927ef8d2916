//! ComfyUI's graph in a PNG's `prompt` (its API form): node number -> class and inputs, where an input is a value or [node number, output].
//!
//! Read backwards from the picture that is saved: the sampler, what it samples with, what it starts from. Nodes that are not known are listed.

use std::collections::BTreeSet;

use admix_mix::recipe::limits;
use serde_json::{Map, Value};

use super::{Imported, Named, stem};

/// Reads a graph. None: this is no such graph. Never fails otherwise: what is not understood is listed.
pub fn read(text: &str) -> Option<Imported> {
    let Ok(Value::Object(nodes)) = serde_json::from_str::<Value>(text) else { return None };
    let is_node = |v: &Value| v.get("class_type").is_some_and(Value::is_string);
    if nodes.is_empty() || !nodes.values().any(is_node) {
        return None;
    }
    let mut graph = Graph { nodes: &nodes, used: BTreeSet::new(), out: Imported::default() };
    graph.read();
    Some(graph.out)
}

struct Graph<'a> {
    nodes: &'a Map<String, Value>,
    /// Nodes that were understood.
    used: BTreeSet<&'a str>,
    out: Imported,
}

/// Nodes that pass one input on as it is, and its name.
const PASSING: &[(&str, &str)] = &[
    ("Reroute", ""),
    ("Reroute (rgthree)", ""),
    ("PrimitiveNode", "value"),
    ("PrimitiveString", "value"),
    ("PrimitiveStringMultiline", "value"),
    ("PrimitiveInt", "value"),
    ("PrimitiveFloat", "value"),
];

/// Nodes that show or keep a picture.
const ENDS: &[&str] = &["SaveImage", "PreviewImage", "SaveAnimatedWEBP"];

/// Longest chain of nodes that is followed: longer ones are circles.
const LONGEST: usize = 256;

type Inputs<'a> = &'a Map<String, Value>;

impl<'a> Graph<'a> {
    /// Class and inputs of a node.
    fn node(&self, id: &str) -> Option<(&'a str, &'a str, Inputs<'a>)> {
        let (id, node) = self.nodes.get_key_value(id)?;
        Some((id, node.get("class_type")?.as_str()?, node.get("inputs")?.as_object()?))
    }

    /// The node behind an input, through nodes that pass it on.
    fn source(&mut self, inputs: Inputs<'a>, name: &str) -> Option<(&'a str, &'a str, Inputs<'a>)> {
        let mut link = inputs.get(name)?;
        for _ in 0..LONGEST {
            let id = link.as_array()?.first()?.as_str()?;
            let (id, class, inputs) = self.node(id)?;
            let Some((_, pass)) = PASSING.iter().find(|(c, _)| *c == class) else { return Some((id, class, inputs)) };
            self.used.insert(id);
            link = inputs.get(*pass).filter(|v| v.is_array()).or_else(|| inputs.values().find(|v| v.is_array()))?;
        }
        None
    }

    /// A value, stated or from a node that only holds one.
    fn value(&mut self, inputs: Inputs<'a>, name: &str) -> Option<&'a Value> {
        let mut at = inputs.get(name)?;
        for _ in 0..LONGEST {
            let Some(link) = at.as_array() else { return Some(at) };
            let (id, _, inputs) = self.node(link.first()?.as_str()?)?;
            at = ["value", "text", "string", "seed", "int", "float"].iter().find_map(|k| inputs.get(*k))?;
            self.used.insert(id);
        }
        None
    }

    fn number(&mut self, inputs: Inputs<'a>, name: &str) -> Option<f64> {
        self.value(inputs, name)?.as_f64().filter(|v| v.is_finite())
    }

    fn text(&mut self, inputs: Inputs<'a>, name: &str) -> Option<&'a str> {
        self.value(inputs, name)?.as_str()
    }

    fn read(&mut self) {
        let Some((id, class, inputs)) = self.last_sampler() else {
            self.out.note("no KSampler in this graph: only its nodes could be listed".into());
            return self.list_rest();
        };
        self.out.sample.rng = Some("comfy".into());
        self.out.sample.set.insert("prompt_syntax".into(), "comfy".into());
        self.out.sample.set.insert("img2img_steps".into(), "comfy".into());
        // Second passes stand before the first: go back to it.
        let mut passes = vec![(id, class, inputs)];
        let mut upscale = None;
        while passes.len() < 8 {
            let Some((_, _, inputs)) = passes.last().copied() else { break };
            let Some(start) = self.source(inputs, "latent_image") else { break };
            match self.before(start) {
                Start::Sampler(node, up) => {
                    if passes.iter().any(|p| p.0 == node.0) {
                        break;
                    }
                    upscale = up.or(upscale);
                    passes.push(node);
                }
                Start::Done => break,
            }
        }
        let first = passes.len() - 1;
        if passes.len() > 2 {
            self.out
                .note(format!("{} samplers one after another: the first and the last are taken over", passes.len()));
        }
        let (_, class, inputs) = passes[first];
        self.used.extend(passes.iter().map(|p| p.0));
        self.sampler(class, inputs);
        self.model(inputs);
        for (name, is_negative) in [("positive", false), ("negative", true)] {
            self.prompt(inputs, name, is_negative);
        }
        if first > 0 {
            self.second(passes[0].1, passes[0].2, upscale);
        }
        self.list_rest();
    }

    /// The sampler nearest to a picture that is kept, or any.
    fn last_sampler(&mut self) -> Option<(&'a str, &'a str, Inputs<'a>)> {
        let ends: Vec<&'a String> =
            self.nodes.keys().filter(|id| self.node(id).is_some_and(|n| ENDS.contains(&n.1))).collect();
        for end in ends {
            let Some((id, _, mut inputs)) = self.node(end) else { continue };
            self.used.insert(id);
            for _ in 0..LONGEST {
                let names = ["images", "image", "samples", "pixels", "upscale_image"];
                let Some(next) = names.iter().find_map(|n| self.source(inputs, n)) else { break };
                if is_sampler(next.1) {
                    return Some(next);
                }
                if next.1.starts_with("VAEDecode") {
                    self.used.insert(next.0);
                    self.vae(next.2);
                }
                inputs = next.2;
            }
        }
        self.nodes.keys().filter_map(|id| self.node(id)).find(|n| is_sampler(n.1))
    }

    /// What a pass starts from.
    fn before(&mut self, start: (&'a str, &'a str, Inputs<'a>)) -> Start<'a> {
        let (mut id, mut class, mut inputs) = start;
        let mut upscale = None;
        for _ in 0..LONGEST {
            if is_sampler(class) {
                return Start::Sampler((id, class, inputs), upscale);
            }
            let next = match class {
                "EmptyLatentImage" | "EmptySD3LatentImage" => {
                    self.used.insert(id);
                    let edge = |g: &mut Self, n| g.number(inputs, n).map_or(512, |v| v.clamp(0.0, 1e6) as u64);
                    let (w, h) = (edge(self, "width"), edge(self, "height"));
                    self.out.set_size(w, h);
                    let batch = self.number(inputs, "batch_size").unwrap_or(1.0);
                    self.out.sample.batch = (batch > 1.0).then_some(batch.min(64.0) as u32);
                    return Start::Done;
                }
                "LatentUpscale" | "LatentUpscaleBy" => {
                    self.used.insert(id);
                    upscale = Some((class, inputs));
                    self.source(inputs, "samples")
                }
                "VAEEncode" | "VAEEncodeTiled" | "VAEEncodeForInpaint" => {
                    self.used.insert(id);
                    self.source(inputs, "pixels")
                }
                "VAEDecode" | "VAEDecodeTiled" => {
                    self.used.insert(id);
                    self.source(inputs, "samples")
                }
                "ImageScaleBy" | "ImageScale" => {
                    self.used.insert(id);
                    upscale = Some((class, inputs));
                    self.source(inputs, "image")
                }
                "SetLatentNoiseMask" => self.source(inputs, "samples"),
                "LoadImage" => {
                    self.used.insert(id);
                    let name = self.text(inputs, "image").unwrap_or("?");
                    self.out.note(format!("starts from the picture {name}: give it again (--init)"));
                    return Start::Done;
                }
                _ => None,
            };
            match next {
                Some(found) => (id, class, inputs) = found,
                None => return Start::Done,
            }
        }
        Start::Done
    }

    /// Steps, guidance, seed and names of a sampler.
    fn sampler(&mut self, class: &str, inputs: Inputs<'a>) {
        let advanced = class == "KSamplerAdvanced";
        if let Some(v) = self.number(inputs, "steps").filter(|v| limits::STEPS.check(*v).is_ok()) {
            self.out.sample.steps = Some(v as u32);
        }
        if let Some(v) = self.number(inputs, "cfg").filter(|v| limits::CFG.check(*v).is_ok()) {
            self.out.sample.cfg = Some(v);
        }
        let seed = self.value(inputs, if advanced { "noise_seed" } else { "seed" });
        match seed.and_then(Value::as_u64) {
            Some(seed) => self.out.sample.seed = Some(seed),
            None => self.out.note("seed: not a whole number in this graph".into()),
        }
        let name = |g: &mut Self, n| g.text(inputs, n).unwrap_or_default();
        let (sampler, schedule) = (name(self, "sampler_name"), name(self, "scheduler"));
        self.out.set_sampler(sampler, schedule);
        let strength = self.strength(class, inputs);
        if strength < 1.0 {
            self.out.sample.strength = Some(strength);
        }
    }

    /// How much of the run a pass does.
    fn strength(&mut self, class: &str, inputs: Inputs<'a>) -> f64 {
        if class != "KSamplerAdvanced" {
            return self.number(inputs, "denoise").unwrap_or(1.0).clamp(0.0, 1.0);
        }
        let steps = self.number(inputs, "steps").unwrap_or(20.0).max(1.0);
        let start = self.number(inputs, "start_at_step").unwrap_or(0.0);
        let end = self.number(inputs, "end_at_step").unwrap_or(1e4);
        if end < steps {
            self.out.note(format!("end_at_step: {end} of {steps} steps; here runs go to their end"));
        }
        if self.text(inputs, "add_noise") == Some("disable") && start > 0.0 {
            self.out.note("add_noise: disable; here a pass that starts later adds noise".into());
        }
        ((steps - start) / steps).clamp(0.0, 1.0)
    }

    /// The chain of adapters down to the checkpoint.
    fn model(&mut self, inputs: Inputs<'a>) {
        let (mut inputs, mut name) = (inputs, "model");
        let mut adapters = Vec::new();
        for _ in 0..LONGEST {
            let Some((id, class, next)) = self.source(inputs, name) else { break };
            match class {
                "LoraLoader" | "LoraLoaderModelOnly" => {
                    self.used.insert(id);
                    let weight = self.number(next, "strength_model").unwrap_or(1.0);
                    let text =
                        if class == "LoraLoader" { self.number(next, "strength_clip").unwrap_or(weight) } else { 0.0 };
                    let file = self.text(next, "lora_name").map(stem).unwrap_or_default();
                    let text_weight = (text != weight).then_some(text);
                    adapters.push(Named { name: file, hash: None, weight, text_weight });
                }
                _ => {
                    if let Some(file) = self.text(next, "ckpt_name") {
                        self.used.insert(id);
                        self.out.model = Some(Named { name: stem(file), ..Named::default() });
                        break;
                    }
                }
            }
            (inputs, name) = (next, "model");
        }
        adapters.reverse();
        self.out.adapters = adapters;
    }

    /// The text behind an input of the sampler, and how far its encoder is read.
    fn prompt(&mut self, inputs: Inputs<'a>, name: &str, is_negative: bool) {
        let mut at = self.source(inputs, name);
        for _ in 0..LONGEST {
            let Some((id, class, next)) = at else { break };
            if class == "CLIPTextEncode" || class == "CLIPTextEncodeSDXL" {
                self.used.insert(id);
                let text =
                    self.text(next, if class == "CLIPTextEncode" { "text" } else { "text_g" }).map(str::to_owned);
                if text.is_none() {
                    self.out.note(format!("{name} prompt: it comes from a node that is not known here"));
                }
                *(if is_negative { &mut self.out.sample.negative } else { &mut self.out.sample.prompt }) = text;
                self.clip_skip(next);
                return;
            }
            if class == "ConditioningZeroOut" && is_negative {
                self.used.insert(id);
            }
            // Whatever it does, the text behind it is closer to the picture than none.
            at = ["conditioning", "conditioning_1", "conditioning_to", name].iter().find_map(|n| self.source(next, n));
        }
    }

    fn clip_skip(&mut self, inputs: Inputs<'a>) {
        let mut inputs = inputs;
        for _ in 0..LONGEST {
            let Some((id, class, next)) = self.source(inputs, "clip") else { return };
            if class == "CLIPSetLastLayer" {
                self.used.insert(id);
                if let Some(layer) = self.number(next, "stop_at_clip_layer").filter(|v| (-12.0..=-1.0).contains(v)) {
                    self.out.sample.clip_skip = Some(-layer as u32);
                }
                return;
            }
            inputs = next;
        }
    }

    fn vae(&mut self, inputs: Inputs<'a>) {
        if let Some((id, "VAELoader", next)) = self.source(inputs, "vae") {
            self.used.insert(id);
            let name = self.text(next, "vae_name").unwrap_or("?");
            self.out.note(format!("VAE {name}: the checkpoint's own is used here"));
        }
    }

    /// A second pass over an enlarged latent or picture.
    fn second(&mut self, class: &str, inputs: Inputs<'a>, upscale: Option<(&str, Inputs<'a>)>) {
        let strength = self.strength(class, inputs);
        let steps = self.number(inputs, "steps");
        let (mut scale, mut method) = (1.0, "nearest-exact");
        if let Some((class, up)) = upscale {
            method = self.text(up, "upscale_method").unwrap_or(method);
            scale = match self.number(up, "scale_by") {
                Some(by) => by,
                None => self.number(up, "width").unwrap_or(0.0) / f64::from(self.out.sample.width.unwrap_or(512)),
            };
            if class.starts_with("Image") {
                method = "picture";
            }
        }
        let name = match method {
            "picture" => "picture_lanczos",
            "bilinear" => "latent_bilinear",
            "bicubic" => "latent_bicubic",
            "nearest-exact" => "latent_nearest_exact",
            other => {
                self.out.note(format!("upscale_method {other}: bilinear is used here"));
                "latent_bilinear"
            }
        };
        if !(1.0..=8.0).contains(&scale) {
            self.out.note(format!("second pass: a scale of {scale} is not possible here"));
            return;
        }
        let set = &mut self.out.sample.set;
        set.insert("hires_scale".into(), scale.into());
        set.insert("hires_strength".into(), strength.into());
        set.insert("hires_upscaler".into(), name.into());
        if let Some(steps) = steps.filter(|v| limits::STEPS.check(*v).is_ok()) {
            set.insert("hires_steps".into(), (steps as u32).into());
        }
    }

    /// Lists the nodes that nothing was made of.
    fn list_rest(&mut self) {
        let rest: BTreeSet<&str> = self
            .nodes
            .keys()
            .filter_map(|id| self.node(id))
            .filter(|n| !self.used.contains(n.0))
            .map(|n| n.1)
            .collect();
        for class in rest.into_iter().filter(|c| !ENDS.contains(c)) {
            self.out.note(format!("node {class}: not read"));
        }
    }
}

type Node<'a> = (&'a str, &'a str, Inputs<'a>);

enum Start<'a> {
    /// Another pass, and the enlarging between.
    Sampler(Node<'a>, Option<(&'a str, Inputs<'a>)>),
    Done,
}

fn is_sampler(class: &str) -> bool {
    matches!(class, "KSampler" | "KSamplerAdvanced")
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRAPH: &str = r#"{
      "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "sub/dream.safetensors"}},
      "10": {"class_type": "LoraLoader", "inputs": {"lora_name": "ink.safetensors", "strength_model": 0.8, "strength_clip": 0.5, "model": ["4", 0], "clip": ["4", 1]}},
      "11": {"class_type": "LoraLoader", "inputs": {"lora_name": "more.safetensors", "strength_model": 0.3, "strength_clip": 0.3, "model": ["10", 0], "clip": ["10", 1]}},
      "12": {"class_type": "CLIPSetLastLayer", "inputs": {"stop_at_clip_layer": -2, "clip": ["11", 1]}},
      "20": {"class_type": "Reroute", "inputs": {"": ["11", 0]}},
      "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 512, "height": 640, "batch_size": 2}},
      "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a (cat:1.2)", "clip": ["12", 0]}},
      "7": {"class_type": "CLIPTextEncode", "inputs": {"text": ["30", 0], "clip": ["12", 0]}},
      "30": {"class_type": "PrimitiveString", "inputs": {"value": "blurry"}},
      "3": {"class_type": "KSampler", "inputs": {"seed": 156680208700286, "steps": 20, "cfg": 8.0, "sampler_name": "dpmpp_2m", "scheduler": "karras", "denoise": 1.0,
            "model": ["20", 0], "positive": ["6", 0], "negative": ["7", 0], "latent_image": ["5", 0]}},
      "40": {"class_type": "LatentUpscaleBy", "inputs": {"upscale_method": "bicubic", "scale_by": 1.5, "samples": ["3", 0]}},
      "41": {"class_type": "KSampler", "inputs": {"seed": 1, "steps": 14, "cfg": 8.0, "sampler_name": "dpmpp_2m", "scheduler": "simple", "denoise": 0.5,
            "model": ["20", 0], "positive": ["6", 0], "negative": ["7", 0], "latent_image": ["40", 0]}},
      "8": {"class_type": "VAEDecode", "inputs": {"samples": ["41", 0], "vae": ["50", 0]}},
      "50": {"class_type": "VAELoader", "inputs": {"vae_name": "mse.safetensors"}},
      "60": {"class_type": "ControlNetApply", "inputs": {}},
      "9": {"class_type": "SaveImage", "inputs": {"filename_prefix": "x", "images": ["8", 0]}}
    }"#;

    #[test]
    fn a_graph_with_a_second_pass() {
        let found = read(GRAPH).expect("a graph");
        let s = &found.sample;
        assert_eq!((s.prompt.as_deref(), s.negative.as_deref()), (Some("a (cat:1.2)"), Some("blurry")));
        assert_eq!((s.steps, s.cfg, s.seed, s.clip_skip), (Some(20), Some(8.0), Some(156_680_208_700_286), Some(2)));
        assert_eq!((s.width, s.height, s.batch, s.strength), (Some(512), Some(640), Some(2), None));
        assert_eq!(
            (s.sampler.as_deref(), s.schedule.as_deref(), s.rng.as_deref()),
            (Some("dpmpp_2m"), Some("karras"), Some("comfy"))
        );
        assert_eq!((s.set["hires_scale"].as_f64(), s.set["hires_strength"].as_f64()), (Some(1.5), Some(0.5)));
        assert_eq!(
            (s.set["hires_steps"].as_u64(), s.set["hires_upscaler"].as_str()),
            (Some(14), Some("latent_bicubic"))
        );
        assert_eq!(found.model.as_ref().map(|m| m.name.as_str()), Some("dream"));
        let named = |name: &str, weight, text_weight| Named { name: name.into(), hash: None, weight, text_weight };
        assert_eq!(found.adapters, [named("ink", 0.8, Some(0.5)), named("more", 0.3, None)]);
        let rest = found.unresolved.join("; ");
        assert!(rest.contains("VAE mse") && rest.contains("ControlNetApply") && found.unresolved.len() == 2, "{rest}");
    }

    #[test]
    fn an_advanced_sampler_on_a_picture() {
        let graph = r#"{"1": {"class_type": "KSamplerAdvanced", "inputs": {"noise_seed": 5, "steps": 20, "cfg": 7, "sampler_name": "euler_ancestral", "scheduler": "normal",
            "start_at_step": 5, "end_at_step": 10000, "add_noise": "enable", "latent_image": ["2", 0]}},
            "2": {"class_type": "VAEEncode", "inputs": {"pixels": ["3", 0]}}, "3": {"class_type": "LoadImage", "inputs": {"image": "x.png"}}}"#;
        let found = read(graph).expect("a graph");
        assert_eq!(
            (found.sample.strength, found.sample.seed, found.sample.sampler.as_deref()),
            (Some(0.75), Some(5), Some("euler_ancestral"))
        );
        assert!(found.unresolved.join(";").contains("x.png"));
    }

    #[test]
    fn damaged_graphs_do_no_harm() {
        assert!(read("").is_none() && read("[]").is_none() && read("{}").is_none() && read("{\"a\": 1}").is_none());
        // Circles, links to nothing, inputs of every wrong kind.
        for graph in [
            r#"{"1": {"class_type": "KSampler", "inputs": {"latent_image": ["1", 0], "model": ["1", 0], "positive": ["1", 0]}}}"#,
            r#"{"1": {"class_type": "Reroute", "inputs": {"": ["1", 0]}}, "2": {"class_type": "KSampler", "inputs": {"model": ["1", 0], "seed": ["1", 0], "steps": ["1", 0]}}}"#,
            r#"{"1": {"class_type": "KSampler", "inputs": {"seed": -1, "steps": 1e300, "cfg": "x", "sampler_name": 3, "latent_image": [], "model": ["9"], "positive": [null]}}}"#,
            r#"{"1": {"class_type": "LatentUpscale", "inputs": {"samples": ["1", 0]}}, "2": {"class_type": "KSampler", "inputs": {"latent_image": ["1", 0]}}, "3": 7, "4": {"class_type": "SaveImage"}}"#,
        ] {
            assert!(read(graph).is_some(), "{graph}");
        }
        for (i, _) in GRAPH.char_indices() {
            read(&GRAPH[..i]);
        }
        let names =
            ["latent_image", "model", "positive", "clip", "samples", "steps", "seed", "\"4\"", "\"41\"", "0.5", "20"];
        for name in names {
            read(&GRAPH.replace(name, "null"));
            read(&GRAPH.replace(&format!("\"{name}\""), "\"other\""));
            read(&GRAPH.replace(name, "\"3\""));
        }
    }
}
