//! The built-in models and adapters are sound, whole and fit together.

use admix_files::adapter::{Adapter, Targets};
use admix_files::builtin::{self, Kind};
use admix_files::{Checkpoint, ready};

#[test]
fn every_built_in_file_fits() {
    let base = Checkpoint::open(builtin::resolve_model("builtin").unwrap()).unwrap();
    base.check_renderable().unwrap();
    assert!(base.tokenizer.is_some());
    let targets = Targets::of(&base);
    for item in builtin::catalogue().unwrap() {
        match item.kind {
            Kind::Model => Checkpoint::open(&item.path).unwrap().check_renderable().unwrap(),
            Kind::FineTune => {
                let tune = Checkpoint::open(&item.path).unwrap();
                tune.validate().unwrap();
                for (name, t) in &tune.tensors {
                    assert_eq!(base.tensor(name).unwrap().shape, t.shape, "{}: {name}", item.name);
                }
            }
            Kind::Adapter => {
                let adapter = Adapter::open(&item.path).unwrap();
                adapter.check_supported().unwrap();
                let fit = adapter.fit_targets(&targets);
                assert!(fit.unmatched.is_empty() && fit.mismatched.is_empty(), "{}: {fit:?}", item.name);
                // kohya's trainer writes its captions; peft and diffusers have no place of their own for them.
                assert!(!adapter.triggers.is_empty() || adapter.dialect != "kohya", "{} has no trigger", item.name);
                let module = adapter.modules.values().next().unwrap();
                assert!(ready(adapter.factors(module)).unwrap().delta().iter().any(|d| *d != 0.0));
            }
        }
    }
}
