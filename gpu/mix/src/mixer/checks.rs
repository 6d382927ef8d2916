//! What is checked of a recipe before any weight is read: checksums, names of blocks, shapes.

use admix_files::Checkpoint;

use super::{Mixer, ModelReport};
use crate::{MixError, blocks, survey};

impl Mixer {
    pub(super) fn check_sums(&mut self, allow_changed: bool) -> Result<(), MixError> {
        let mut recipe = self.recipe.clone();
        for reference in recipe.references_mut() {
            let found = self.checksums.get(&reference.reference);
            if let (Some(expected), Some(found)) = (&reference.sha256, found)
                && expected != found
            {
                let error = MixError::Changed {
                    reference: reference.reference.clone(),
                    expected: expected.clone(),
                    found: found.clone(),
                };
                if !allow_changed {
                    return Err(error);
                }
                self.warnings.push(error.to_string());
            }
        }
        Ok(())
    }

    /// Every block that the recipe names must hold at least one tensor of the base: a misspelt one would silently do nothing.
    pub(super) fn check_blocks(&self) -> Result<(), MixError> {
        let stages = self.recipe.merge.iter().enumerate().map(|(i, s)| (format!("merge[{i}].blocks"), &s.blocks));
        let models = self.recipe.merge.iter().enumerate().flat_map(|(i, s)| {
            s.models.iter().enumerate().map(move |(j, m)| (format!("merge[{i}].models[{j}].blocks"), &m.blocks))
        });
        let adapters = self.recipe.adapters.iter().enumerate();
        let adapters = adapters.map(|(i, a)| (format!("adapters[{i}].blocks"), &a.blocks));
        for (place, named) in stages.chain(models).chain(adapters) {
            // Lists name all blocks of a family, whether a model has them or not.
            for block in named.keys().filter(|b| !blocks::is_mbw(b)) {
                if !self.base.tensors.keys().any(|name| blocks::lies_in(name, block)) {
                    let reason = "no tensor of the base lies in this block; blocks are named like unet.down.0, unet.mid, unet.up, text, vae";
                    return Err(MixError::recipe(format!("{place}.{block}"), reason));
                }
            }
        }
        Ok(())
    }

    /// Shapes must agree wherever names do.
    pub(super) fn check_models(&mut self) -> Result<(), MixError> {
        let check = |model: &Checkpoint, reference: &str| -> Result<usize, MixError> {
            let mut matched = 0;
            for (name, tensor) in &model.tensors {
                let Some(own) = self.base.tensors.get(name) else { continue };
                if own.shape != tensor.shape && !survey::takes_first_channels(name, &own.shape, &tensor.shape) {
                    return Err(MixError::Tensor {
                        place: reference.into(),
                        tensor: name.clone(),
                        reason: format!(
                            "its shape is {:?}, but {:?} in {}; only models of one architecture can be merged",
                            tensor.shape, own.shape, self.base.name
                        ),
                    });
                }
                matched += 1;
            }
            Ok(matched)
        };
        let mut reports = Vec::new();
        for (stage, opened) in self.recipe.merge.iter().zip(&self.stages) {
            for (i, used) in stage.models.iter().enumerate() {
                let model = &opened.models[i];
                let reference = &used.source.reference;
                let matched = check(model, reference)?;
                if let (Some(minus), Some(named)) = (&opened.minus[i], &used.minus) {
                    check(minus, &named.reference)?;
                }
                if matched == 0 {
                    return Err(MixError::NothingMatched {
                        reference: reference.clone(),
                        base: self.base.name.clone(),
                        modules: model.tensors.len(),
                        cause: "its tensors have other names; it is another kind of model".into(),
                    });
                }
                let lacks = |a: &Checkpoint, b: &Checkpoint| -> Vec<String> {
                    a.tensors.keys().filter(|k| !b.tensors.contains_key(*k)).cloned().collect()
                };
                reports.push(ModelReport {
                    reference: reference.clone(),
                    sha256: String::new(),
                    matched,
                    missing: lacks(&self.base, model),
                    extra: lacks(model, &self.base),
                });
            }
        }
        self.models = reports;
        Ok(())
    }
}
