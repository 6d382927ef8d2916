//! From keys to modules.

use super::dialect::{PEFT_PREFIX, dialects};
use super::family::{ALPHA, BIAS, BiasUse, Family, Fits, Group, Settings, WHOLE_BIAS, families, split_key};
use super::peft_settings::{self, PeftSettings};
use super::understood;
use super::{Adapter, Encoder, Module, Slot, embedding, facts};
use crate::bundle::Bundle;
use crate::error::{Error, Result, first_few};
use crate::safetensors::Index;
use crate::source::SharedSource;
use indexmap::IndexMap;

const SETTINGS: &str = "adapter_config.json";
/// What a report puts behind the name of a file that was passed over.
pub(super) const NOT_READ: &str = " (not read: name it by itself)";

/// One weights file of the adapter, opened.
struct File {
    path: String,
    component: Option<String>,
    index: Index,
    source: SharedSource,
    settings: Vec<(String, PeftSettings)>,
    /// Text of the settings beside it.
    beside: Vec<u8>,
}

pub(super) async fn load(bundle: Bundle) -> Result<Adapter> {
    let (files, left) = open_files(&bundle).await?;
    let mut groups: Groups = IndexMap::new();
    let mut stray = Vec::new();
    let mut metadata = IndexMap::new();
    for (source, file) in files.iter().enumerate() {
        for (key, info) in &file.index.tensors {
            let slot = Slot { source, key: key.clone(), info: info.clone() };
            let Some((module, role, _)) = split_key(key) else {
                stray.push((source, key.clone()));
                continue;
            };
            let place = (module.to_owned(), file.component.clone());
            let (_, group) = groups.entry(place).or_insert_with(|| (source, Group::default()));
            if group.slots.insert(role, slot).is_some() {
                let why = format!("the module `{module}` has two tensors for `{role}`");
                return Err(Error::NotA { file: file.path.clone(), why });
            }
        }
        for (key, value) in &file.index.metadata {
            metadata.entry(key.clone()).or_insert_with(|| value.clone());
        }
    }
    share(&mut groups);
    let claimed = claimed(groups, &mut stray);
    let file_of = |source: usize| files.get(source).map_or("", |f| f.path.as_str());
    understood::check(&claimed, &stray, &file_of)?;
    let mut stray: Vec<String> =
        left.iter().map(|n| format!("{n}{NOT_READ}")).chain(stray.into_iter().map(|s| s.1)).collect();
    let mut modules = IndexMap::new();
    let mut refined: IndexMap<&'static str, usize> = IndexMap::new();
    for (name, component, source, group, family) in claimed {
        let Some(file) = files.get(source) else { continue };
        let settings = settings(file, &name, component.as_deref(), &group).await?;
        let broken = |why: String| Error::NotA { file: file.path.clone(), why: format!("module `{name}`: {why}") };
        let built = family.build(&group, &settings).map_err(broken)?;
        if !built.scale.is_finite() {
            return Err(broken(format!("its alpha {:?} gives no finite scale", settings.alpha)));
        }
        *refined.entry(family.refine(&group).unwrap_or(family.id())).or_default() += 1;
        let module = Module {
            family: family.id(),
            rank: built.rank,
            alpha: settings.alpha,
            scale: built.scale,
            fits: built.fits,
            bias: if group.has(BIAS) || group.has(WHOLE_BIAS) { BiasUse::Needed } else { built.bias },
            settings,
            parameters: group.slots.iter().filter(|(r, _)| **r != ALPHA).map(|(_, s)| s.info.elements()).sum(),
            group,
            component: component.clone(),
            name: name.clone(),
        };
        let key = match &component {
            Some(c) if modules.contains_key(&name) => format!("{c}/{name}"),
            _ => name,
        };
        modules.insert(key, module);
    }
    let mut rows = Vec::new();
    if modules.is_empty() {
        rows = recognise_embedding(&files, &mut modules, &mut refined, &mut stray);
    }
    if modules.is_empty() {
        return Err(not_an_adapter(&bundle, &files));
    }
    let facts = facts::gather(&bundle, &metadata).await?;
    let beside = files.iter().flat_map(|f| &f.beside).copied().collect::<Vec<u8>>();
    let beside = if beside.is_empty() { String::new() } else { crate::hash::sha256(&beside) };
    Ok(Adapter {
        name: bundle.name().to_owned(),
        kind: kind_of(&refined),
        dialect: dialect_of(&modules),
        modules,
        stray,
        triggers: facts.words(),
        facts,
        beside,
        embedding: rows,
        metadata,
        sources: files.into_iter().map(|f| f.source).collect(),
        bundle,
    })
}

/// The groups by module name and the component their file belongs to, each with its file.
type Groups = IndexMap<(String, Option<String>), (usize, Group)>;

/// Gives every module that needs them the tensors that stand once in the file.
fn share(groups: &mut Groups) {
    for family in families() {
        for role in family.shared() {
            let Some(slot) = groups.values().find_map(|(_, g)| g.get(role)).cloned() else { continue };
            for (_, group) in groups.values_mut() {
                group.slots.shift_remove(role);
                if family.claims(group) {
                    group.slots.insert(role, slot.clone());
                }
            }
        }
    }
    groups.retain(|_, (_, g)| !g.slots.is_empty());
}

/// A module's name, component, file, tensors and kind.
pub(super) type Claimed = (String, Option<String>, usize, Group, &'static dyn Family);

/// Finds every group's kind. Tensors of none are stray; so are companions that stand alone.
fn claimed(groups: Groups, stray: &mut Vec<(usize, String)>) -> Vec<Claimed> {
    let mut claimed: Vec<Claimed> = Vec::new();
    let mut companions: Vec<Claimed> = Vec::new();
    for ((name, component), (source, group)) in groups {
        match families().iter().copied().find(|f| f.claims(&group)) {
            Some(family) if family.is_companion() => companions.push((name, component, source, group, family)),
            Some(family) => claimed.push((name, component, source, group, family)),
            None => stray.extend(group.slots.into_values().map(|s| (s.source, s.key))),
        }
    }
    if claimed.is_empty() {
        stray.extend(
            companions.into_iter().flat_map(|(.., group, _)| group.slots.into_values().map(|s| (s.source, s.key))),
        );
    } else {
        claimed.extend(companions);
    }
    claimed
}

/// Kinds that name a file whatever else is in it.
const TELLING: [&str; 3] = ["resadapter", "bitdelta", "dora"];
/// Kinds that stand beside others.
const BESIDE: [&str; 4] = ["full", "norm", "lora_embedding", "saved"];

/// A kind that tells, else the most frequent of those that do not merely stand beside others. One LoCon module makes a LoRA file a LoCon.
fn kind_of(refined: &IndexMap<&'static str, usize>) -> String {
    if let Some(kind) = TELLING.iter().find(|k| refined.contains_key(**k)) {
        return (*kind).to_owned();
    }
    let most = |beside: bool| {
        let kinds = refined.iter().filter(|(k, _)| beside || !BESIDE.contains(k));
        kinds.max_by_key(|(_, n)| **n).map(|(k, _)| *k)
    };
    let most = most(false).or_else(|| most(true)).unwrap_or("");
    let locon = most == "lora" && refined.contains_key("locon");
    (if locon { "locon" } else { most }).to_owned()
}

fn dialect_of(modules: &IndexMap<String, Module>) -> &'static str {
    let mut counts: IndexMap<&'static str, usize> = IndexMap::new();
    for m in modules.values() {
        let id = dialects().iter().find(|d| d.is(&m.name)).map_or("unknown", |d| d.id());
        *counts.entry(id).or_default() += 1;
    }
    counts.into_iter().max_by_key(|(_, n)| *n).map_or("unknown", |(id, _)| id)
}

/// The weight files that are the adapter, opened, and the names of those beside them that are not read.
async fn open_files(bundle: &Bundle) -> Result<(Vec<File>, Vec<String>)> {
    let mut left = Vec::new();
    let mut chosen: Vec<(String, SharedSource, Option<String>)> = Vec::new();
    if bundle.is_folder() {
        let weights: Vec<_> = bundle.weights().collect();
        for (folder, component) in [
            ("", None),
            ("unet/", Some("unet")),
            ("text_encoder/", Some("text_encoder")),
            ("text_encoder_2/", Some("text_encoder_2")),
        ] {
            let here: Vec<_> = weights
                .iter()
                .filter(|(n, _)| n.strip_prefix(folder).is_some_and(|rest| !rest.contains('/')))
                .collect();
            let named = here.iter().find(|(n, _)| {
                ["adapter_model.safetensors", "pytorch_lora_weights.safetensors"].iter().any(|w| n.ends_with(w))
            });
            // ResAdapter's normalisations lie in a second file beside its LoRA.
            let norms = here.iter().find(|(n, _)| n.ends_with("diffusion_pytorch_model.safetensors"));
            if let (Some(_), Some((name, source))) = (named, norms) {
                chosen.push(((*name).to_owned(), (*source).clone(), component.map(str::to_owned)));
            }
            match (named, &here[..]) {
                (Some((name, source)), _) | (None, [(name, source)]) => {
                    chosen.push(((*name).to_owned(), (*source).clone(), component.map(str::to_owned)));
                }
                (None, []) => {}
                (None, several) => {
                    let names = first_few(several.iter().map(|(n, _)| format!("`{n}`")), 3);
                    let why = format!("it holds several files ({names}); name one of them");
                    return Err(Error::NotA { file: bundle.name().into(), why });
                }
            }
        }
        // Those of other folders too: a training's checkpoints, say.
        let is_left = |name: &&str| !chosen.iter().any(|(chosen, ..)| chosen == name);
        left.extend(weights.iter().map(|(name, _)| *name).filter(is_left).map(str::to_owned));
    } else if let Some((name, source)) = bundle.first() {
        crate::safetensors::refuse_by_name(name)?;
        chosen.push((name.to_owned(), source.clone(), None));
    }
    if chosen.is_empty() {
        let pickles = first_few(bundle.ignored_in("").map(str::to_owned), 3);
        let why = if pickles.is_empty() {
            "there is no .safetensors file in it".to_owned()
        } else {
            format!("it holds only pickles ({pickles}), which run code when loaded; save it as .safetensors")
        };
        return Err(Error::NotA { file: bundle.name().into(), why });
    }
    let mut files = Vec::new();
    for (name, source, component) in chosen {
        let path = if bundle.is_folder() { bundle.path_of(&name) } else { name.clone() };
        let index = Index::read(source.as_ref(), &path).await?;
        let mut settings = match index.metadata.get("lora_adapter_metadata") {
            Some(text) => peft_settings::from_metadata(&path, text)?,
            None => Vec::new(),
        };
        let folder = match component.as_deref() {
            Some(c) => format!("{c}/"),
            None => String::new(),
        };
        let name = format!("{folder}{SETTINGS}");
        let beside = bundle.text(&name).await?.unwrap_or_default();
        if bundle.get(&name).is_some() {
            let file = if bundle.is_folder() { bundle.path_of(&name) } else { format!("{SETTINGS} beside {path}") };
            settings.push((String::new(), PeftSettings::from_json(&file, &beside)?));
        }
        files.push(File { path, component, index, source, settings, beside });
    }
    Ok((files, left))
}

/// A module's alpha: its own tensor, else the settings of its component, else none.
async fn settings(file: &File, name: &str, component: Option<&str>, group: &Group) -> Result<Settings> {
    let mut found = stated(file, name, component);
    if let Some(slot) = group.get(ALPHA) {
        let bytes = file.source.read(slot.info.range.clone()).await?;
        return match slot.info.dtype.decode_f32(&bytes)[..] {
            [alpha] if alpha.is_finite() => {
                // 0 is how kohya and LyCORIS write "the rank".
                found.alpha = Some(f64::from(alpha)).filter(|a| *a != 0.0);
                found.rank_stabilised = false;
                found.rank = None;
                Ok(found)
            }
            [alpha] => {
                let why = format!("`{}` is {alpha}; expected a number", slot.key);
                Err(Error::NotA { file: file.path.clone(), why })
            }
            _ => {
                let why = format!("`{}` has shape {:?}; expected a single number", slot.key, slot.info.shape);
                Err(Error::NotA { file: file.path.clone(), why })
            }
        };
    }
    Ok(found)
}

/// What the settings beside the file say about a module.
fn stated(file: &File, name: &str, component: Option<&str>) -> Settings {
    // `unet.down_blocks...` or `base_model.model.down_blocks...`: the path is what peft matched its patterns with.
    let inner = |path| str::strip_prefix(path, PEFT_PREFIX).unwrap_or(path);
    let path = inner(name);
    for (of, settings) in &file.settings {
        if of.is_empty() || component == Some(of) {
            return settings.of(path);
        }
        if let Some(path) = path.strip_prefix(of.as_str()).and_then(|p| p.strip_prefix('.')) {
            return settings.of(inner(path));
        }
    }
    Settings::default()
}

/// Textual inversions have no module names: one tensor of rows for each text encoder, under one of a few keys.
fn recognise_embedding(
    files: &[File],
    modules: &mut IndexMap<String, Module>,
    refined: &mut IndexMap<&'static str, usize>,
    stray: &mut Vec<String>,
) -> Vec<(Encoder, Slot)> {
    let mut rows = Vec::new();
    let Some(file) = files.first() else { return rows };
    // peft's single tensors are parameters of a method, whatever their shapes.
    if files.iter().flat_map(|f| &f.settings).any(|(_, s)| s.peft_type.is_some()) {
        return rows;
    }
    let alone = file.index.tensors.len() == 1;
    for (key, info) in &file.index.tensors {
        let Some(encoder) = embedding::encoder_of_key(key, info, alone) else { continue };
        let module = Module {
            name: key.clone(),
            family: "embedding",
            group: Group::default(),
            settings: Settings::default(),
            fits: Fits::Columns(info.shape.last().copied().unwrap_or(0)),
            bias: BiasUse::Untouched,
            rank: None,
            alpha: None,
            scale: 1.0,
            component: Some(encoder.component().to_owned()),
            parameters: info.elements(),
        };
        modules.insert(key.clone(), module);
        *refined.entry("embedding").or_default() += 1;
        rows.push((encoder, Slot { source: 0, key: key.clone(), info: info.clone() }));
    }
    stray.retain(|k| !modules.contains_key(k));
    rows
}

fn not_an_adapter(bundle: &Bundle, files: &[File]) -> Error {
    let keys = || files.iter().flat_map(|f| f.index.tensors.keys());
    let checkpoint = keys().any(|k| {
        ["model.diffusion_model.", "first_stage_model.", "unet.conv_in", "down_blocks.0.resnets"]
            .iter()
            .any(|p| k.starts_with(p))
    });
    let why = if checkpoint {
        "this is a checkpoint, not an adapter; give it as the model or merge it".to_owned()
    } else if let Some(kind) = files.iter().flat_map(|f| &f.settings).find_map(|(_, s)| s.peft_type.clone()) {
        format!("adapters of peft's type {kind} are not known")
    } else if keys().next().is_none() {
        "there is not one tensor in it; download it again".to_owned()
    } else if let Some(label) = crate::checkpoint::recognised::recognise(keys().map(String::as_str)) {
        format!("this is {label}, which this program does not run")
    } else if keys().any(|k| super::looks_like_adapter_key(k)) {
        let some = first_few(keys().map(|k| format!("`{k}`")), 3);
        format!(
            "it is named as an adapter, but none of its modules has all the tensors that a kind of adapter needs; its keys begin with {some}"
        )
    } else {
        let some = first_few(keys().map(|k| format!("`{k}`")), 3);
        format!("no known kind of adapter; its keys begin with {some}")
    };
    Error::NotA { file: bundle.name().into(), why }
}
