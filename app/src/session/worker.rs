//! The actor's loop: one piece of work after the other on one engine session.

use std::collections::HashMap;
use std::sync::Arc;

use admix_engine::files::Bundle;
use admix_engine::files::adapter::Adapter;
use admix_engine::files::checkpoint::Checkpoint;
use admix_engine::files::inspect::Inspected;
use admix_engine::mix::{ExportLayout, ExportProgress, MixError, Mixer, Recipe};
use admix_engine::model::prompt::{self, Rules};
use admix_engine::model::tokenizer::Tokenizer;
use admix_engine::{Control, EngineError, Progress, Session};

use super::Live;
use super::queue::Shared;
use super::work::{Card, Count, Export, Finished, ModelCard, News, Open, Render, Shelved, Stage, Trouble, Work};

/// Does work until the desk is gone.
pub(super) async fn run(mut session: Session, shared: Arc<Shared>) {
    // A changed file is a warning here, never a refusal.
    session.allow_changed = true;
    let mut tokenizers = HashMap::new();
    // Files without a path, by reference; the session knows the same ones.
    #[cfg_attr(not(target_arch = "wasm32"), allow(unused_mut))]
    let mut dropped: HashMap<String, Bundle> = HashMap::new();
    #[cfg(target_arch = "wasm32")]
    match crate::io::assets::bundles().await {
        Ok(bundles) => dropped.extend(bundles),
        Err(error) => shared.news(News::Failed { id: 0, purpose: None, error, trouble: Trouble::File }),
    }
    for (reference, bundle) in &dropped {
        session.add_source(reference.clone(), bundle.clone());
    }
    while let Some((id, work, cancel)) = shared.next().await {
        #[cfg(not(target_arch = "wasm32"))]
        session.libraries.clone_from(&shared.libraries());
        let mut control = Control { cancel, ..Control::default() };
        let listener = shared.clone();
        control.listener = Some(Box::new(move |progress| listener.update(|live| note(live, progress))));
        let news = match work {
            Work::Render(render) => do_render(&mut session, id, *render, control).await,
            Work::Open(open) => do_open(&mut session, &mut dropped, open).await,
            Work::Export(export) => do_export(&mut session, id, *export, control).await,
            Work::Understand(recipe) => do_understand(&session, id, recipe, &control).await,
            Work::Count { model, texts, rules } => {
                do_count(&session, &mut tokenizers, &dropped, model, texts, rules).await
            }
        };
        shared.done(news);
    }
}

/// Progress into the slot.
fn note(live: &mut Live, progress: Progress) {
    live.stage = match progress {
        Progress::Weights { done, total } => Stage::Weights { done, total },
        Progress::Text => Stage::Text,
        Progress::Step { done, total, preview } => {
            if let Some(preview) = preview {
                live.preview = Some((Arc::new(preview), done));
            }
            Stage::Step { done, total }
        }
        Progress::Decode { done, total } => Stage::Decode { done, total },
        Progress::Export { done, total } => Stage::Export { done, total },
    };
    if live.steps_since.is_none() && matches!(live.stage, Stage::Text) {
        live.steps_since = Some(web_time::Instant::now());
    }
}

fn failure(id: u64, purpose: Option<super::Purpose>, error: EngineError) -> News {
    match error {
        EngineError::Cancelled => News::Cancelled { id },
        other => News::Failed { id, purpose, trouble: trouble(&other), error: other.to_string() },
    }
}

fn trouble(error: &EngineError) -> Trouble {
    use admix_engine::mix::MixError;
    match error {
        EngineError::Files(_) | EngineError::Picture(_) | EngineError::Write { .. } => Trouble::File,
        EngineError::Mix(MixError::Device(_)) | EngineError::Tensor(_) => Trouble::Device,
        EngineError::Mix(_) | EngineError::Model(_) => Trouble::File,
        EngineError::Sample(_) => Trouble::Sampling,
        EngineError::Input(_) => Trouble::Value,
        _ => Trouble::Other,
    }
}

async fn do_render(session: &mut Session, id: u64, render: Render, mut control: Control) -> News {
    // Studies are small and many: only their result is looked at.
    control.preview_every = if render.purpose == super::Purpose::Study { 0 } else { 1 };
    // Something that is being dragged is looked at on its way; a picture that was asked for comes sooner with fewer previews.
    control.preview_share = if render.purpose == super::Purpose::Scrub { 0.5 } else { 0.2 };
    control.is_quick = render.is_quick;
    match session.render(&render.recipe, &render.given, &mut control).await {
        Ok(rendered) => {
            News::Rendered { id, purpose: render.purpose, finished: Box::new(Finished::from_rendered(rendered)) }
        }
        Err(error) => failure(id, Some(render.purpose), error),
    }
}

async fn do_open(session: &mut Session, dropped: &mut HashMap<String, Bundle>, open: Open) -> News {
    let Open { reference, bundle, against } = open;
    if let Some(bundle) = bundle {
        session.add_source(reference.clone(), bundle.clone());
        dropped.insert(reference.clone(), bundle);
    }
    let card = card_of(session, dropped, &reference, &against).await;
    News::Opened { reference, against, card }
}

/// Tells what a file is that somebody has just brought, if it is a model: that needs nothing but its header, so it need not wait until the engine comes
/// to it, which in a tab may be in the middle of a step.
#[cfg(target_arch = "wasm32")]
pub(super) async fn glance(open: Open, shared: Arc<Shared>) {
    let Open { reference, bundle: Some(bundle), against } = open else { return };
    // Whatever is wrong with it the engine will say, once.
    if let Ok(Inspected::Checkpoint(checkpoint)) = Inspected::load(bundle).await {
        let card = Ok(Card::Model(model_card(&checkpoint)));
        shared.news(News::Opened { reference, against, card });
    }
}

async fn card_of(
    session: &Session,
    dropped: &HashMap<String, Bundle>,
    reference: &str,
    against: &str,
) -> Result<Card, String> {
    let bundle = match dropped.get(reference) {
        Some(bundle) => bundle.clone(),
        None => bundle_at(reference)?,
    };
    match Inspected::load(bundle).await.map_err(|e| e.to_string())? {
        Inspected::Checkpoint(checkpoint) => Ok(Card::Model(model_card(&checkpoint))),
        Inspected::Adapter(adapter) => {
            let base = session.checkpoint(against).await.map_err(|e| e.to_string())?;
            Ok(Card::Adapter(adapter_card(&adapter, &base)))
        }
    }
}

#[cfg(not(target_arch = "wasm32"))]
fn bundle_at(reference: &str) -> Result<Bundle, String> {
    admix_engine::files::builtin::resolve_any(reference).and_then(Bundle::open).map_err(|e| e.to_string())
}

#[cfg(target_arch = "wasm32")]
fn bundle_at(reference: &str) -> Result<Bundle, String> {
    Err(format!("{reference} is not loaded in this tab: drop its file here"))
}

fn model_card(checkpoint: &Checkpoint) -> ModelCard {
    let factor = checkpoint.vae.as_ref().map_or(8, |v| 1usize << v.block_out_channels.len().saturating_sub(1).min(8));
    let native = checkpoint.unet.as_ref().and_then(|u| u.sample_size).unwrap_or([64, 64]);
    ModelCard {
        name: short_name(&checkpoint.name),
        family: checkpoint.family.label().into(),
        format: checkpoint.format.name().into(),
        parameters: checkpoint.parameters(),
        dtype: checkpoint.dtype().map_or_else(|| "?".into(), |d| d.name().to_string()),
        native: [native[1] * factor, native[0] * factor].map(|v| v as u32),
        clip_skip: checkpoint.clip_skip as u32,
        lacks: [
            ("U-Net", checkpoint.unet.is_some()),
            ("VAE", checkpoint.vae.is_some()),
            ("text encoder", checkpoint.text_encoder.is_some()),
        ]
        .into_iter()
        .find_map(|(part, is_there)| (!is_there).then(|| part.to_string())),
        trouble: checkpoint.check_supported().err().map(|e| e.to_string()),
    }
}

fn adapter_card(adapter: &Adapter, base: &Checkpoint) -> Shelved {
    let fit = adapter.fit(base);
    Shelved {
        name: short_name(&adapter.name),
        kind: adapter.kind.clone(),
        rank: adapter.rank(),
        modules: adapter.modules.len(),
        against: short_name(&base.name),
        matched: fit.matched.len(),
        mismatched: fit
            .mismatched
            .iter()
            .map(|m| format!("{}: the model has {:?}, the file {:?}", m.key, m.expected, m.found))
            .collect(),
        unmatched: fit.unmatched,
        cause: fit.cause,
        triggers: adapter.triggers.clone(),
        trouble: adapter.check_supported().err().map(|e| e.to_string()),
    }
}

/// The last part of a path.
fn short_name(name: &str) -> String {
    name.trim_end_matches('/').rsplit(['/', '\\']).next().unwrap_or(name).to_string()
}

/// A model's tokenizer and the tokens that fit, with the state of the files they were read from.
type Held = (Option<String>, Tokenizer, usize);

async fn do_count(
    session: &Session,
    tokenizers: &mut HashMap<String, Held>,
    dropped: &HashMap<String, Bundle>,
    model: String,
    texts: [String; 2],
    rules: Rules,
) -> News {
    let bundle = dropped.get(&model).cloned().or_else(|| bundle_at(&model).ok());
    let state = bundle.and_then(|b| admix_engine::state_of(&model, &b));
    if tokenizers.get(&model).is_none_or(|(of, ..)| *of != state) {
        // A model that cannot be opened says so when it is rendered; its prompt is counted with CLIP's vocabulary until then.
        let checkpoint = session.checkpoint(&model).await.ok();
        let files = checkpoint.as_ref().and_then(|c| c.tokenizer.as_ref());
        let tokenizer = files.and_then(|f| Tokenizer::from_files(f).ok()).unwrap_or_else(Tokenizer::clip);
        let length = checkpoint.and_then(|c| c.text_encoder.as_ref().map(|t| t.max_position_embeddings)).unwrap_or(77);
        tokenizers.insert(model.clone(), (state, tokenizer, length.saturating_sub(2)));
    }
    let counts = match tokenizers.get(&model) {
        Some((_, tokenizer, room)) => texts.each_ref().map(|text| {
            let (tokens, room_of_all) = prompt::count(tokenizer, text, room + 2, rules);
            Count { tokens, room: room_of_all, kept: prompt::kept(tokenizer, text, room + 2, rules) }
        }),
        None => [Count { room: 75, kept: usize::MAX, ..Count::default() }; 2],
    };
    News::Counted { texts, counts }
}

async fn do_understand(session: &Session, id: u64, recipe: Box<Recipe>, control: &Control) -> News {
    let mut tell = |_, _| !control.cancel.is_cancelled();
    match session.understand(&recipe, &mut tell).await {
        Err(error) if control.cancel.is_cancelled() => failure(id, None, cancelled_by(error)),
        found => News::Understood { recipe, figures: found.map(Box::new).map_err(|e| e.to_string()) },
    }
}

/// An error that came from being asked to stop.
fn cancelled_by(error: EngineError) -> EngineError {
    match error {
        EngineError::Mix(error) => cancelled(error),
        other => other,
    }
}

/// Time between two words on an export.
const TELL_EVERY: std::time::Duration =
    std::time::Duration::from_millis(if cfg!(target_arch = "wasm32") { 500 } else { 100 });

async fn do_export(session: &mut Session, id: u64, export: Export, control: Control) -> News {
    let Control { mut listener, cancel, .. } = control;
    let mut told: Option<web_time::Instant> = None;
    let mut progress = |p: ExportProgress| {
        // Each word is a frame, and a tab draws it on the thread that writes.
        let due = told.is_none_or(|told| told.elapsed() >= TELL_EVERY);
        if let Some(listener) = listener.as_mut().filter(|_| due) {
            listener(Progress::Export { done: p.done, total: p.total });
            told = Some(web_time::Instant::now());
        }
        !cancel.is_cancelled()
    };
    let result = match session.open_export(&export.recipe).await {
        Ok(mixer) => write(&mixer, &export, &mut progress).await,
        Err(error) => Err(error),
    };
    match result {
        Ok(name) => News::Exported { id, name },
        Err(error) => failure(id, None, error),
    }
}

/// Writes the mix and gives the name it has now.
#[cfg(not(target_arch = "wasm32"))]
async fn write(
    mixer: &Mixer,
    export: &Export,
    progress: &mut dyn FnMut(ExportProgress) -> bool,
) -> Result<String, EngineError> {
    let report = mixer.export(&export.place.0, ExportLayout::Same, progress).await.map_err(cancelled)?;
    Ok(report.out.display().to_string())
}

/// Writes the mix and gives the name it has now. A folder's mix is written as one file: a tab can hand over no folder.
#[cfg(target_arch = "wasm32")]
async fn write(
    mixer: &Mixer,
    export: &Export,
    progress: &mut dyn FnMut(ExportProgress) -> bool,
) -> Result<String, EngineError> {
    let mut sink = export.place.open().await.map_err(EngineError::Input)?;
    match mixer.export_to(&mut sink, ExportLayout::Same, progress).await {
        Ok(_) => sink.finish().await.map_err(EngineError::Input)?,
        Err(error) => {
            sink.abort().await;
            return Err(cancelled(error));
        }
    }
    Ok(export.place.name())
}

fn cancelled(error: MixError) -> EngineError {
    match error {
        MixError::Cancelled => EngineError::Cancelled,
        other => other.into(),
    }
}
