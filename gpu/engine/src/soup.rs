//! Mixes that are looked for with a score: the greedy soup, and WiSE-FT's walk from a model to its fine-tune.

use admix_mix::recipe::{ModelUse, Recipe, Stage};
use serde::Serialize;

use crate::EngineError;

/// A model that a soup tried.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Tried {
    /// The model.
    pub model: String,
    /// Its own loss.
    pub alone: f64,
    /// The soup's loss with it.
    pub loss: f64,
    /// Whether it stays.
    pub kept: bool,
}

/// A greedy soup.
#[derive(Clone, Debug, Serialize)]
pub struct Soup {
    /// The mean of the models that stay.
    pub recipe: Recipe,
    /// Its loss.
    pub loss: f64,
    /// The models in the order they were tried: the best first.
    pub tried: Vec<Tried>,
}

/// A recipe's stage of a method.
fn stage(method: &str, models: Vec<ModelUse>) -> Stage {
    Stage { method: method.into(), models, params: Default::default(), blocks: Default::default(), seed: None }
}

/// The mean of some models on `like`'s base, which gives what they lack (a VAE, where they are U-Nets alone).
fn mean(models: &[&str], like: &Recipe) -> Recipe {
    let mut recipe = like.clone();
    let share = 1.0 / models.len() as f64;
    // What is left of the weights is the base's own share.
    let others = models.iter().filter(|m| **m != like.base.reference);
    let others: Vec<ModelUse> = others.map(|m| ModelUse::new(*m, share)).collect();
    recipe.merge = if others.is_empty() { Vec::new() } else { vec![stage("weighted_sum", others)] };
    recipe
}

/// The greedy soup of Wortsman et al. 2022 (Model soups, arXiv 2203.05482, recipe 1): models by their own score, the best first; each joins the mean
/// if the mean's loss does not rise. `like` gives the base, and everything that is not the mix.
///
/// # Errors
/// No models, and what `score` gives.
pub async fn greedy(
    models: &[String],
    like: &Recipe,
    mut score: impl AsyncFnMut(&Recipe) -> Result<f64, EngineError>,
) -> Result<Soup, EngineError> {
    let mut ranked = Vec::new();
    for model in models {
        ranked.push((score(&mean(&[model], like)).await?, model.as_str()));
    }
    ranked.sort_by(|a, b| a.0.total_cmp(&b.0));
    let Some((mut loss, best)) = ranked.first().copied() else {
        return Err(EngineError::Input("a soup needs models".into()));
    };
    let mut kept = vec![best];
    let mut tried = vec![Tried { model: best.into(), alone: loss, loss, kept: true }];
    for (alone, model) in ranked.into_iter().skip(1) {
        kept.push(model);
        let found = score(&mean(&kept, like)).await?;
        let stays = found <= loss;
        tried.push(Tried { model: model.into(), alone, loss: found, kept: stays });
        if stays {
            loss = found;
        } else {
            kept.pop();
        }
    }
    Ok(Soup { recipe: mean(&kept, like), loss, tried })
}

/// A point of a sweep.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Point {
    /// Share of the fine-tune: 0 the base, 1 the fine-tune.
    pub alpha: f64,
    /// Loss there.
    pub loss: f64,
    /// Sharpness: the second derivative of the loss along the way, by central differences. Flat places forgive a change of weights.
    pub sharpness: f64,
}

/// A walk from a base to a fine-tune.
#[derive(Clone, Debug, Serialize)]
pub struct Sweep {
    /// The mix with the least loss.
    pub recipe: Recipe,
    /// Its place.
    pub best: f64,
    /// The points from 0 to 1.
    pub points: Vec<Point>,
    /// How far the loss rises above the straight line between both ends, at most (Frankle et al. 2020, arXiv 1912.05671): 0 where the two are
    /// connected and mixes are safe.
    pub barrier: f64,
}

/// WiSE-FT (Wortsman et al. 2022, arXiv 2109.01903): (1 - alpha) base + alpha fine-tune at `count` places from 0 to 1, the loss at each, and its
/// sharpness, for which one step is made beyond both ends. `like`'s base is the base.
///
/// # Errors
/// Fewer than two places, and what `score` gives.
pub async fn sweep(
    model: &str,
    like: &Recipe,
    count: usize,
    mut score: impl AsyncFnMut(&Recipe) -> Result<f64, EngineError>,
) -> Result<Sweep, EngineError> {
    if count < 2 {
        return Err(EngineError::Input("a sweep needs two places at least".into()));
    }
    let step = 1.0 / (count - 1) as f64;
    let at = |alpha: f64| {
        let mut recipe = like.clone();
        recipe.merge = match alpha {
            0.0 => Vec::new(),
            _ => vec![stage("weighted_sum", vec![ModelUse::new(model, alpha)])],
        };
        recipe
    };
    let alphas: Vec<f64> = (0..count + 2).map(|i| if i == count { 1.0 } else { (i as f64 - 1.0) * step }).collect();
    let mut losses = Vec::new();
    for alpha in &alphas {
        losses.push(score(&at(*alpha)).await?);
    }
    let points: Vec<Point> = (1..=count)
        .map(|i| {
            let sharpness = (losses[i - 1] + losses[i + 1] - 2.0 * losses[i]) / (step * step);
            Point { alpha: alphas[i], loss: losses[i], sharpness }
        })
        .collect();
    let (first, last) = (points[0].loss, points[count - 1].loss);
    let above = points.iter().map(|p| p.loss - ((1.0 - p.alpha) * first + p.alpha * last));
    let barrier = above.fold(0.0, f64::max);
    let best = points.iter().min_by(|a, b| a.loss.total_cmp(&b.loss)).map_or(0.0, |p| p.alpha);
    Ok(Sweep { recipe: at(best), best, points, barrier })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Models are points on a line, the loss of a mean is its distance from 0.
    #[test]
    fn a_soup_keeps_what_helps() {
        let models: Vec<String> = ["5", "-1", "2", "-3", "9"].map(String::from).to_vec();
        // The base's own place counts for what the weights leave of it.
        let place = |r: &Recipe| {
            let number = |text: &str| text.parse::<f64>().expect("a number");
            let used: Vec<_> = r.merge.iter().flat_map(|s| &s.models).collect();
            let rest = 1.0 - used.iter().map(|m| m.weight).sum::<f64>();
            rest * number(&r.base.reference) + used.iter().map(|m| m.weight * number(&m.source.reference)).sum::<f64>()
        };
        let soup = pollster::block_on(greedy(&models, &Recipe::new("5"), async |r: &Recipe| Ok(place(r).abs())))
            .expect("scores");
        // -1 alone: 1. With 2: 0.5. With -3: |-2/3|, worse. With 5: 2, worse. With 9: worse.
        let kept: Vec<&str> = soup.tried.iter().filter(|t| t.kept).map(|t| t.model.as_str()).collect();
        assert_eq!(kept, ["-1", "2"]);
        assert!((soup.loss - 0.5).abs() < 1e-12 && soup.recipe.base.reference == "5");
        assert!(soup.recipe.merge[0].method == "weighted_sum" && soup.recipe.merge[0].models.len() == 2);
        let order: Vec<&str> = soup.tried.iter().map(|t| t.model.as_str()).collect();
        assert_eq!(order, ["-1", "2", "-3", "5", "9"]);
        assert!(pollster::block_on(greedy(&[], &Recipe::new("0"), async |_: &Recipe| Ok(0.0))).is_err());
    }

    /// A parabola: its bottom is found, its second derivative everywhere, and no barrier; upside down there is one.
    #[test]
    fn a_sweep_finds_the_bottom_and_the_bend() {
        let alpha = |r: &Recipe| r.merge.first().map_or(0.0, |s| s.models[0].weight);
        let of = |sign: f64| {
            let score = async |r: &Recipe| Ok(2.0 + sign * 3.0 * (alpha(r) - 0.6).powi(2));
            pollster::block_on(sweep("tune", &Recipe::new("base"), 11, score)).expect("scores")
        };
        let bowl = of(1.0);
        assert_eq!(bowl.points.len(), 11);
        assert!((bowl.best - 0.6).abs() < 1e-12 && bowl.barrier == 0.0);
        assert!(bowl.points.iter().all(|p| (p.sharpness - 6.0).abs() < 1e-9));
        assert!((bowl.points[10].alpha - 1.0).abs() < 1e-12 && bowl.recipe.merge[0].method == "weighted_sum");
        let hill = of(-1.0);
        // 3 alpha (1 - alpha) above the line, at most 3 / 4.
        assert!((hill.barrier - 0.75).abs() < 1e-9 && hill.best == 0.0 && hill.recipe.merge.is_empty());
    }
}
