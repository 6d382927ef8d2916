//! Git Re-Basin: the model's hidden units in the order that fits the base's best, then the weighted sum.
//!
//! On the host: the best order of a group is an assignment problem (Kuhn and Munkres), and a group takes part whole. The groups are those whose
//! order no output depends on, as sd-mecha lists them for SDXL: hidden units of feed-forward layers and of the time and label embeddings,
//! channels inside a head of queries with keys and of values with outputs. They share no unit, so one pass is the optimum and nothing repeats.

use crate::method::{About, Facts, HostInputs, Knob, Method, Order, Settings, Survey, SurveyPlan};

/// B (1 - w) + w (M in the base's order).
pub struct GitRebasin;

static KNOBS: &[Knob] = &[Knob::whole(
    "heads",
    "U-Net heads",
    0.0,
    64.0,
    8.0,
    "Attention heads of the U-Net: 8 in SD 1.x; 0 for heads of 64 channels, as in SD 2 and SDXL.",
)];

/// Channels of a head of every CLIP text encoder, and of SD 2's and SDXL's U-Nets.
const HEAD: usize = 64;

/// Tensors whose units change places together: rows of the first ones, columns of the last.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Group {
    /// Rows (and biases) in the same order.
    rows: Vec<String>,
    /// Columns in the same order.
    columns: Vec<String>,
    /// Units change places inside a head only.
    inside_heads: bool,
    /// The rows come in this many copies, one after another (gated feed-forward layers: 2).
    copies: usize,
}

impl Group {
    fn names(&self) -> Vec<String> {
        self.rows.iter().chain(&self.columns).cloned().collect()
    }
}

/// (ending of the layer with rows, its partner with rows, the layer with columns, inside heads, copies).
type Kind = (&'static str, Option<&'static str>, Option<&'static str>, bool, usize);

/// What layers are called, in U-Nets and in text encoders.
const KINDS: &[Kind] = &[
    ("to_q", Some("to_k"), None, true, 1),
    ("to_v", None, Some("to_out.0"), true, 1),
    ("ff.net.0.proj", None, Some("ff.net.2"), false, 2),
    ("time_embedding.linear_1", None, Some("time_embedding.linear_2"), false, 1),
    ("add_embedding.linear_1", None, Some("add_embedding.linear_2"), false, 1),
    ("q_proj", Some("k_proj"), None, true, 1),
    ("v_proj", None, Some("out_proj"), true, 1),
    ("mlp.fc1", None, Some("mlp.fc2"), false, 1),
];

/// The group that tensor `name` belongs to.
fn group_of(name: &str) -> Option<Group> {
    if !(name.starts_with("unet.") || name.starts_with("text_encoder")) {
        return None;
    }
    let (layer, end) = name.rsplit_once('.')?;
    KINDS.iter().find_map(|(first, second, columns, inside_heads, copies)| {
        let is_column =
            |ending: &&str| end == "weight" && layer.strip_suffix(*ending).is_some_and(|p| p.ends_with('.'));
        let of_rows = [Some(*first), *second]
            .into_iter()
            .flatten()
            .find(|e| layer.strip_suffix(e).is_some_and(|p| p.ends_with('.')));
        let ending = of_rows.or_else(|| columns.filter(is_column))?;
        let prefix = layer.strip_suffix(ending)?;
        let row_layers = [Some(*first), *second].into_iter().flatten();
        let rows = row_layers.flat_map(|e| ["weight", "bias"].map(|end| format!("{prefix}{e}.{end}"))).collect();
        let columns = columns.iter().map(|e| format!("{prefix}{e}.weight")).collect();
        Some(Group { rows, columns, inside_heads: *inside_heads, copies: *copies })
    })
}

/// A tensor of the group: its name and shape, the base's and the model's values.
struct Member {
    name: String,
    shape: Vec<usize>,
    base: Vec<f32>,
    model: Vec<f32>,
}

/// Finds the best orders of one group.
struct Matching {
    group: Group,
    heads: usize,
    seen: Vec<Member>,
}

impl Survey for Matching {
    fn visit(&mut self, _pass: usize, name: &str, shape: &[usize], inputs: &HostInputs<'_>) {
        let (base, model) = (inputs.base.to_vec(), inputs.models[0].to_vec());
        self.seen.push(Member { name: name.into(), shape: shape.to_vec(), base, model });
    }

    fn finish(self: Box<Self>) -> Facts {
        let find = |name: &String| self.seen.iter().find(|m| m.name == *name);
        let weights =
            |names: &[String]| names.iter().filter(|n| n.ends_with(".weight")).map(find).collect::<Option<Vec<_>>>();
        let mut facts = Facts::default();
        // A group that some model has only a part of stays as it is.
        let (Some(rows), Some(columns)) = (weights(&self.group.rows), weights(&self.group.columns)) else {
            return facts;
        };
        let Some(units) = rows.first().map(|m| m.shape[0] / self.group.copies) else { return facts };
        let width = match (self.group.inside_heads, rows[0].name.starts_with("unet.") && self.heads > 0) {
            (false, _) => units,
            (true, true) => units / self.heads,
            (true, false) => HEAD.min(units),
        };
        let fits =
            rows.iter().all(|m| m.shape[0] == units * self.group.copies) && columns.iter().all(|m| m.shape[1] == units);
        if width == 0 || !units.is_multiple_of(width) || !fits {
            return facts;
        }
        for offset in (0..units).step_by(width) {
            let mut gain = vec![0f64; width * width];
            for name in &self.group.rows {
                let Some(member) = find(name) else { continue };
                (0..self.group.copies).for_each(|c| add_gain(&mut gain, member, 0, c * units + offset, width));
            }
            columns.iter().for_each(|member| add_gain(&mut gain, member, 1, offset, width));
            let from: Vec<u32> = best_assignment(&gain, width).into_iter().map(|j| j as u32).collect();
            let mut order = |name: &String, axis: usize, offset: usize| {
                facts.orders.entry(name.clone()).or_default().push(Order { axis, offset, from: from.clone() });
            };
            for name in &self.group.rows {
                (0..self.group.copies).for_each(|c| order(name, 0, c * units + offset));
            }
            self.group.columns.iter().for_each(|name| order(name, 1, offset));
        }
        facts
    }
}

/// Adds the inner products of the base's units i with the model's units j: gain[i * width + j].
fn add_gain(gain: &mut [f64], member: &Member, axis: usize, offset: usize, width: usize) {
    let inner: usize = member.shape[axis + 1..].iter().product();
    let outer: usize = member.shape[..axis].iter().product();
    let size = member.shape[axis];
    for o in 0..outer {
        for i in 0..width {
            let own = &member.base[(o * size + offset + i) * inner..][..inner];
            for j in 0..width {
                let other = &member.model[(o * size + offset + j) * inner..][..inner];
                gain[i * width + j] += own.iter().zip(other).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
            }
        }
    }
}

/// The assignment of columns to rows with the largest sum: shortest augmenting paths with potentials (Jonker and Volgenant 1987).
fn best_assignment(gain: &[f64], n: usize) -> Vec<usize> {
    let cost = |i: usize, j: usize| -gain[i * n + j];
    let (mut u, mut v) = (vec![0f64; n + 1], vec![0f64; n + 1]);
    // Row of each column and the column before it on the path; place n stands for none yet.
    let (mut row_of, mut before) = (vec![usize::MAX; n + 1], vec![n; n + 1]);
    for row in 0..n {
        row_of[n] = row;
        let mut column = n;
        let mut least = vec![f64::INFINITY; n];
        let mut used = vec![false; n + 1];
        while row_of[column] != usize::MAX {
            used[column] = true;
            let i = row_of[column];
            let (mut step, mut next) = (f64::INFINITY, n);
            for j in (0..n).filter(|j| !used[*j]) {
                let reduced = cost(i, j) - u[i] - v[j];
                if reduced < least[j] {
                    least[j] = reduced;
                    before[j] = column;
                }
                if least[j] < step {
                    step = least[j];
                    next = j;
                }
            }
            for j in 0..=n {
                if used[j] {
                    u[row_of[j]] += step;
                    v[j] -= step;
                } else {
                    least[j] -= step;
                }
            }
            column = next;
        }
        while column != n {
            row_of[column] = row_of[before[column]];
            column = before[column];
        }
    }
    let mut assigned = vec![0; n];
    (0..n).for_each(|j| assigned[row_of[j]] = j);
    assigned
}

/// Values with part of an axis in a new order.
fn reordered(values: &[f32], shape: &[usize], order: &Order) -> Vec<f32> {
    let inner: usize = shape[order.axis + 1..].iter().product();
    let size = shape[order.axis];
    let place = |e: usize| {
        let at = e / inner % size;
        let from = match at.checked_sub(order.offset).and_then(|k| order.from.get(k)) {
            Some(from) => order.offset + *from as usize,
            None => at,
        };
        (e as isize + (from as isize - at as isize) * inner as isize) as usize
    };
    (0..values.len()).map(|e| values[place(e)]).collect()
}

static ABOUT: About = About::new(
    "git_rebasin",
    "Git Re-Basin",
    "Ainsworth, Hayase, Srinivasa 2023, Git Re-Basin, arXiv 2209.04836, weight matching; groups as in sd-mecha 1.1.8 `rebasin`",
)
.knobs(KNOBS)
.models(1, 1)
.on_host();

impl Method for GitRebasin {
    fn about(&self) -> &About {
        &ABOUT
    }

    fn survey(&self, settings: &Settings<'_>) -> Option<SurveyPlan> {
        let group = group_of(settings.name)?;
        let heads = settings.knob(KNOBS, "heads") as usize;
        let names = group.names();
        Some(SurveyPlan {
            key: names[0].clone(),
            names: Some(names),
            survey: Box::new(Matching { group, heads, seen: Vec::new() }),
        })
    }

    fn reference(&self, inputs: &HostInputs<'_>, settings: &Settings<'_>) -> Vec<f32> {
        let orders = settings.facts.as_ref().and_then(|f| f.orders.get(settings.name));
        let mut model = inputs.models[0].to_vec();
        for order in orders.into_iter().flatten() {
            model = reordered(&model, settings.shape, order);
        }
        let w = settings.weights[0];
        let pairs = inputs.base.iter().zip(&model);
        pairs.map(|(b, m)| ((1.0 - w) * f64::from(*b) + w * f64::from(*m)) as f32).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::random;

    /// Every order of six columns: none has a larger sum.
    #[test]
    fn assignments_are_the_best_there_are() {
        for seed in 0..20 {
            let n = 6;
            let gain: Vec<f64> = random(n * n, seed).into_iter().map(f64::from).collect();
            let sum = |order: &[usize]| order.iter().enumerate().map(|(i, j)| gain[i * n + j]).sum::<f64>();
            let mut best = f64::MIN;
            let mut orders = vec![vec![]];
            for _ in 0..n {
                let longer = |o: &Vec<usize>| {
                    (0..n).filter(|j| !o.contains(j)).map(|j| [o.clone(), vec![j]].concat()).collect::<Vec<_>>()
                };
                orders = orders.iter().flat_map(longer).collect();
            }
            orders.iter().for_each(|o| best = best.max(sum(o)));
            assert!((sum(&best_assignment(&gain, n)) - best).abs() < 1e-12);
        }
    }

    /// A model that is the base with its units in another order comes back as the base, in every kind of group.
    #[test]
    fn permuted_units_find_their_places() {
        let layers: [(&str, &str, usize, bool); 3] = [
            (
                "unet.mid_block.attentions.0.transformer_blocks.0.ff.net.0.proj",
                "unet.mid_block.attentions.0.transformer_blocks.0.ff.net.2",
                2,
                false,
            ),
            (
                "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_v",
                "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_out.0",
                1,
                true,
            ),
            (
                "text_encoder.text_model.encoder.layers.0.mlp.fc1",
                "text_encoder.text_model.encoder.layers.0.mlp.fc2",
                1,
                false,
            ),
        ];
        for (first, second, copies, heads) in layers {
            let (units, inner) = (16, 5);
            let names = [format!("{first}.weight"), format!("{first}.bias"), format!("{second}.weight")];
            let shapes = [vec![units * copies, inner], vec![units * copies], vec![inner, units]];
            let base: Vec<Vec<f32>> =
                shapes.iter().enumerate().map(|(i, s)| random(s.iter().product(), i as u32)).collect();
            // Inside heads of 8: two turns of their own.
            let shuffle = |k: usize| if heads { k / 8 * 8 + (k % 8 * 3 + k / 8) % 8 } else { (k * 5 + 3) % units };
            let from: Vec<u32> = (0..units).map(|k| shuffle(k) as u32).collect();
            let turn = |i: usize, values: &[f32]| {
                let axis = usize::from(i == 2);
                let copies = if i == 2 { 1 } else { copies };
                (0..copies).fold(values.to_vec(), |v, c| {
                    reordered(&v, &shapes[i], &Order { axis, offset: c * units, from: from.clone() })
                })
            };
            let model: Vec<Vec<f32>> = base.iter().enumerate().map(|(i, v)| turn(i, v)).collect();
            let group = group_of(&names[2]).expect("a group");
            assert_eq!(group_of(&names[0]), Some(group.clone()));
            let mut survey = Matching { group, heads: 2, seen: Vec::new() };
            for (i, name) in names.iter().enumerate() {
                let inputs =
                    HostInputs { base: &base[i], origin: &base[i], models: &[&model[i]], minus: &[], uniforms: &[] };
                survey.visit(0, name, &shapes[i], &inputs);
            }
            let facts = Box::new(survey).finish();
            for (i, name) in names.iter().enumerate() {
                let back = facts.orders[name].iter().fold(model[i].clone(), |v, o| reordered(&v, &shapes[i], o));
                assert_eq!(back, base[i], "{name}");
            }
        }
        assert_eq!(group_of("unet.conv_in.weight"), None);
        assert_eq!(group_of("vae.encoder.mid_block.attentions.0.to_q.weight"), None);
    }
}
