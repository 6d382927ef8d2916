//! What is settled of an opened recipe once its cache is there: how changes that depend on the weight run beside it (DoRA), found once for a
//! weight and kept, and what is to be said of the adapters together.

use std::sync::Arc;

use admix_files::adapter::Extent;
use admix_tensor::{Recorder, Tensor};

use super::{Mixer, Work};
use crate::MixError;
use crate::adapters::Part;
use crate::beside::{Lengths, SideForm};
use crate::change::lengthening;
use crate::flat::Kind;
use crate::method::Facts;

/// Where a part lies: adapter and tensor.
type Place = (usize, String);

impl Mixer {
    /// Settles how adapters run beside weights that they have to know for it (until then those are merged), which reads the weights that the
    /// adapters name, once for every result of the merge stages where there is a cache; and looks at the adapters together, whose warnings
    /// join the mixer's.
    ///
    /// # Errors
    /// Everything that computing those weights can say.
    pub async fn settled(mut self) -> Result<Mixer, MixError> {
        let lines = self.stack_lines();
        self.warnings.extend(lines);
        let mut settled: Vec<(Place, SideForm)> = Vec::new();
        for i in (0..self.adapters.len()).filter(|i| self.wants_beside(*i)) {
            for (name, part) in &self.adapters[i].parts {
                let Part::Beside { change, form: None } = part else { continue };
                let Some(lengths) = SideForm::lengths(change) else { continue };
                let factors = self.length_factors(i, name, &lengths).await?;
                settled.extend(SideForm::lengthened(&lengths, &factors).map(|form| ((i, name.clone()), form)));
            }
        }
        for ((i, name), settled) in settled {
            if let Some(Part::Beside { form, .. }) = self.adapters[i].parts.get_mut(&name) {
                *form = Some(settled);
            }
        }
        Ok(self)
    }

    /// The factor of every row or column that gives it its length.
    async fn length_factors(&self, adapter: usize, name: &str, lengths: &Lengths<'_>) -> Result<Vec<f32>, MixError> {
        let key = format!("lengths|{}|{name}{}", self.adapters[adapter].state, self.weights_text());
        if let Some(facts) = self.cache.as_ref().and_then(|cache| cache.facts(&key)) {
            return Ok(facts.numbers.iter().map(|n| *n as f32).collect());
        }
        let shape = self.base.tensor(name)?.shape.clone();
        let work = Work { stages: self.stages.len(), merged: Vec::new(), transforms: Vec::new(), keep: true };
        let weight = self.compute_stages(name, &shape, Kind::F32, work).await?;
        let mut rec = Recorder::new(&self.gpu);
        let (_, found) =
            lengthening(&mut rec, lengths.inner, lengths.magnitude, lengths.axis, &weight, Extent::of(&shape))?;
        let kept = Tensor::empty(&self.gpu, "lengths", 1, found.cols)?;
        rec.copy(&found, 0, &kept, 0, found.bytes());
        rec.finish().submit();
        let factors = kept.read(&self.gpu).await?;
        if let Some(cache) = &self.cache {
            let numbers = factors.iter().map(|f| f64::from(*f)).collect();
            cache.keep_facts(key, Arc::new(Facts { numbers, ..Facts::default() }));
        }
        Ok(factors)
    }
}
