//! Damaged and misfitting adapters, each kind with the words that must tell it. Damage to headers is in `headers.rs`.

use admix_files::adapter::Adapter;
use admix_files::safetensors::{TensorSpec, write_to_vec};
use admix_files::{Bundle, DType, MemSource, ready};
use std::sync::Arc;

type Tensors<'a> = &'a [(&'a str, &'a [usize])];

/// An adapter of F32 tensors (`mask` U8) whose elements are all `fill`, with peft's configuration beside it.
fn open(tensors: Tensors, fill: f32, config: &str) -> admix_files::Result<Adapter> {
    let dtype = |name: &str| if name.ends_with(".mask") && fill != 7.0 { DType::U8 } else { DType::F32 };
    let specs: Vec<_> =
        tensors.iter().map(|(n, s)| TensorSpec { name: (*n).into(), dtype: dtype(n), shape: s.to_vec() }).collect();
    let data = specs.iter().map(|s| s.dtype.encode_f32(&vec![fill; s.shape.iter().product()]));
    let bytes = write_to_vec(&specs, &Default::default(), data).unwrap();
    let bundle = Bundle::file("x.safetensors", Arc::new(MemSource::new(bytes)));
    let config = Arc::new(MemSource::new(config.as_bytes().to_vec()));
    ready(Adapter::load(bundle.with_text("adapter_config.json", config)))
}

/// What is said when the file is opened, or when its first module meets a weight of `shape`.
fn said(tensors: Tensors, fill: f32, config: &str, shape: &[usize]) -> String {
    let error = match open(tensors, fill, config) {
        Err(e) => e,
        Ok(adapter) => match adapter.check_supported() {
            Err(e) => e,
            Ok(()) => {
                let module = adapter.modules.values().next().expect("it has modules");
                if !module.fits.accepts(shape) {
                    return format!("does not fit {shape:?}: {:?}", module.fits);
                }
                match ready(adapter.changes(module, shape)) {
                    Err(e) => e,
                    Ok(changes) => return format!("ACCEPTED {changes:?}"),
                }
            }
        },
    };
    assert!(error.is_user_fault(), "{error}");
    let text = error.to_string();
    assert!(!text.contains('\n') && text.contains("x.safetensors") || text.contains("adapter_config.json"), "{text}");
    text
}

/// Side-cars are not the adapter: it opens all the same, and says which of them could not be read and why.
#[test]
fn damaged_side_cars_are_named_and_cost_nothing() {
    use admix_files::bundle::{CARD, NOTES, SITE};
    let specs = ["a.lora_A.weight", "a.lora_B.weight"].map(|name| TensorSpec {
        name: name.into(),
        dtype: DType::F16,
        shape: vec![1, 1],
    });
    // Which file, its bytes, words of what is said; none where it is read as far as it goes.
    let cases: &[(&str, &[u8], Option<&str>)] = &[
        (NOTES, b"{", Some("not valid JSON")),
        (NOTES, b"", Some("not valid JSON")),
        (NOTES, b"[1, 2]", Some("no JSON object")),
        (NOTES, b"\xff\xfe{}", Some("not valid JSON")),
        (NOTES, br#"{"activation text": 5, "preferred weight": "much"}"#, None),
        (SITE, b"<html>", Some("not valid JSON")),
        (SITE, b"null", Some("no JSON object")),
        (SITE, br#"{"trainedWords": "ink", "model": [], "images": {}}"#, None),
        (SITE, br#"{"a": 1e999}"#, Some("not valid JSON")),
        (CARD, b"---\nbase_model: [", None),
        (CARD, b"\xff\xff---\n---", None),
    ];
    for (name, text, words) in cases {
        let bytes = write_to_vec(&specs, &Default::default(), [vec![0; 2], vec![0; 2]]).unwrap();
        let bundle = Bundle::file("x.safetensors", Arc::new(MemSource::new(bytes)));
        let adapter = ready(Adapter::load(bundle.with_text(*name, Arc::new(MemSource::new(text.to_vec()))))).unwrap();
        assert_eq!(adapter.modules.len(), 1);
        match (words, adapter.facts.passed_over.as_slice()) {
            (Some(words), [line]) => assert!(line.contains(name) && line.contains(words), "{line} lacks {words}"),
            (None, []) => {}
            (_, found) => panic!("{name} {:?}: {found:?}", String::from_utf8_lossy(text)),
        }
    }
}

/// Numbers of a type that cannot be what the role needs.
#[test]
fn types_that_cannot_be_right_are_refused() {
    let load = |tensors: &[(&str, DType, &[usize])]| {
        let specs: Vec<_> =
            tensors.iter().map(|(n, d, s)| TensorSpec { name: (*n).into(), dtype: *d, shape: s.to_vec() }).collect();
        let data = specs.iter().map(|s| s.dtype.encode_f32(&vec![1.0; s.shape.iter().product()]));
        let bytes = write_to_vec(&specs, &Default::default(), data).unwrap();
        ready(Adapter::load(Bundle::file("x.safetensors", Arc::new(MemSource::new(bytes)))))
    };
    let up = ("a.lora_up.weight", DType::F16, &[8, 4][..]);
    let e = load(&[("a.lora_down.weight", DType::I8, &[4, 8]), up]).err().unwrap().to_string();
    assert!(e.contains("module `a` has whole numbers (I8) in `a.lora_down.weight`"), "{e}");
    assert!(load(&[("a.lora_down.weight", DType::F16, &[4, 8]), up, ("a.alpha", DType::I64, &[])]).is_ok());
    // bf16 knows whole numbers up to 256 without a gap.
    let places = |dtype| load(&[("a.shira_weight", DType::F32, &[1]), ("a.shira_indices", dtype, &[2, 1])]).unwrap();
    for (dtype, width, sound) in
        [(DType::BF16, 256, true), (DType::BF16, 257, false), (DType::F16, 2049, false), (DType::I32, 4096, true)]
    {
        let adapter = places(dtype);
        let changes = ready(adapter.changes(&adapter.modules["a"], &[4, width]));
        assert_eq!(changes.is_ok(), sound, "{dtype:?} {width}");
        if let Err(e) = changes {
            assert!(e.to_string().contains("tells whole numbers apart up to"), "{e}");
        }
    }
}

/// Sound files that are nothing this program knows: what `admix inspect` says of them.
#[test]
fn what_is_no_model_and_no_adapter_says_why() {
    use admix_files::inspect::Inspected;
    let cases: &[(Tensors, &str)] = &[
        (&[], "there is not one tensor in it"),
        (
            &[("lora_unet_x.lora_up.weight", &[4, 2])],
            "it is named as an adapter, but none of its modules has all the tensors",
        ),
        (
            &[("x.weight", &[4, 2]), ("y.weight", &[4, 2])],
            "no known kind of checkpoint; its keys begin with `x.weight`",
        ),
        (&[("double_blocks.0.img_attn.qkv.weight", &[4, 2]), ("single_blocks.0.linear1.weight", &[4, 2])], "FLUX"),
    ];
    for (tensors, words) in cases {
        let specs: Vec<_> = tensors
            .iter()
            .map(|(n, s)| TensorSpec { name: (*n).into(), dtype: DType::F16, shape: s.to_vec() })
            .collect();
        let data: Vec<_> = specs.iter().map(|s| vec![0; s.bytes().unwrap() as usize]).collect();
        let bytes = write_to_vec(&specs, &Default::default(), data).unwrap();
        let bundle = Bundle::file("x.safetensors", Arc::new(MemSource::new(bytes)));
        let said = ready(Inspected::load(bundle)).err().expect("it is nothing").to_string();
        assert!(said.contains(words) && said.contains("x.safetensors"), "{said} lacks {words}");
    }
}

#[test]
fn every_kind_of_damage_has_its_message() {
    // Tensors, the value of all their elements, peft's configuration, the weight's shape, and words of the message.
    type Case<'a> = (Tensors<'a>, f32, &'a str, &'a [usize], &'a str);
    let cases: &[Case] = &[
        // LoRA.
        (
            &[("a.lora_A.weight", &[4, 8]), ("a.lora_B.weight", &[8, 2])],
            1.0,
            "{}",
            &[8, 8],
            "different ranks: up [8, 2], down [4, 8]",
        ),
        (&[("a.lora_A.weight", &[4]), ("a.lora_B.weight", &[8, 4])], 1.0, "{}", &[8, 8], "down factor has shape [4]"),
        (
            &[("a.lora_A.weight", &[4, 8]), ("a.lora_B.weight", &[8, 4, 3, 3])],
            1.0,
            "{}",
            &[8, 8],
            "up factor has shape",
        ),
        (&[("a.lora_A.weight", &[0, 8]), ("a.lora_B.weight", &[8, 0])], 1.0, "{}", &[8, 8], "rank is 0"),
        (
            &[("a.lora_A.weight", &[4, 8]), ("a.lora_B.weight", &[8, 4]), ("a.alpha", &[2])],
            1.0,
            "{}",
            &[8, 8],
            "expected a single number",
        ),
        (
            &[("a.lora_A.weight", &[4, 8]), ("a.lora_B.weight", &[8, 4]), ("a.alpha", &[])],
            f32::NAN,
            "{}",
            &[8, 8],
            "`a.alpha` is NaN",
        ),
        (
            &[("a.lora_A.weight", &[4, 8]), ("a.lora.down.weight", &[4, 8])],
            1.0,
            "{}",
            &[8, 8],
            "two tensors for `down`",
        ),
        (
            &[("a.lora_A.weight", &[4, 8]), ("a.lora_B.weight", &[8, 4])],
            f32::INFINITY,
            "{}",
            &[8, 8],
            "`a.lora_A.weight`",
        ),
        (
            &[("a.lora_A.weight", &[4, 8]), ("a.lora_B.weight", &[8, 4]), ("a.lora_B.bias", &[7])],
            1.0,
            "{}",
            &[8, 8],
            "its bias has shape [7]",
        ),
        (
            &[
                ("a.lora_down.weight", &[2, 4, 1, 1]),
                ("a.lora_up.weight", &[5, 2, 1, 1]),
                ("a.lora_mid.weight", &[3, 2, 3, 3]),
            ],
            1.0,
            "{}",
            &[5, 4, 3, 3],
            "factors do not fit together",
        ),
        (&[("a.lora_A.weight", &[4, 8]), ("a.lora_B.weight", &[8, 4])], 1.0, "{}", &[8, 9], "does not fit [8, 9]"),
        (
            &[("a.lora_up.weight", &[8, 4]), ("b.lora_up.weight", &[8, 4])],
            1.0,
            "{}",
            &[8, 8],
            "none of its modules has all the tensors",
        ),
        (&[("a.lora_A.weight", &[4, 8]), ("a.lora_B.weight", &[8, 4])], 1.0, "{", &[8, 8], "not valid JSON"),
        (
            &[("a.lora_A.weight", &[4, 8]), ("a.lora_B.weight", &[8, 4])],
            1.0,
            r#"{"lora_alpha": "4"}"#,
            &[8, 8],
            "`lora_alpha`",
        ),
        (
            &[("a.lora_A.weight", &[4, 8]), ("a.lora_B.weight", &[8, 4])],
            1.0,
            r#"{"alpha_pattern": {"(": 1}}"#,
            &[8, 8],
            "cannot be read",
        ),
        (
            &[("a.lora_A.weight", &[4, 8]), ("a.lora_B.weight", &[8, 4])],
            1.0,
            r#"{"rank_pattern": {"a": "b"}}"#,
            &[8, 8],
            "an object of numbers",
        ),
        // Ways to start a training in which the base changes too; peft's conversion says `true` there.
        (
            &[("a.lora_A.weight", &[4, 8]), ("a.lora_B.weight", &[8, 4])],
            1.0,
            r#"{"init_lora_weights": "pissa_niter_16"}"#,
            &[8, 8],
            "`init_lora_weights` = `pissa_niter_16`, which changes the base too",
        ),
        (
            &[("a.lora_A.weight", &[4, 8]), ("a.lora_B.weight", &[6, 4]), ("a.lora_magnitude_vector", &[6])],
            1.0,
            r#"{"init_lora_weights": "olora"}"#,
            &[6, 8],
            "`init_lora_weights` = `olora`",
        ),
        (
            &[("a.lora_A.weight", &[4, 8]), ("a.lora_B.weight", &[8, 4])],
            1.0,
            r#"{"init_lora_weights": "eva"}"#,
            &[8, 8],
            "ACCEPTED",
        ),
        // More of a module than its kind has: half of it would be wrong.
        (
            &[("a.lora_A.weight", &[4, 8]), ("a.lora_B.weight", &[8, 4]), ("a.lora_diag", &[4])],
            1.0,
            "{}",
            &[8, 8],
            "module `a` also has `lora_diag`, which no known kind of adapter has",
        ),
        (
            &[("a.lora_down.weight", &[4, 8]), ("a.lora_up.weight", &[8, 4]), ("a.lora_up.scale_weight", &[1])],
            1.0,
            "{}",
            &[8, 8],
            "module `a` also has `lora_up.scale_weight`",
        ),
        (
            &[("a.lora_down.weight", &[4, 8]), ("a.lora_up.weight", &[8, 4]), ("a.diff", &[8, 8])],
            1.0,
            "{}",
            &[8, 8],
            "module `a` also has `a.diff`, which a LoRA module does not have",
        ),
        // ComfyUI's shape to pad to: fine where it is the model's own.
        (
            &[("a.lora_down.weight", &[4, 8]), ("a.lora_up.weight", &[8, 4]), ("a.reshape_weight", &[1])],
            8.0,
            "{}",
            &[8, 8],
            "padded to [8]",
        ),
        // A token table.
        (
            &[("a.lora_embedding_A", &[2, 9]), ("a.lora_embedding_B", &[4, 3])],
            1.0,
            "{}",
            &[9, 4],
            "factors do not fit together",
        ),
        (&[("a.lora_embedding_A", &[2, 9])], 1.0, "{}", &[9, 4], "`embedding_b` is missing"),
        // DoRA.
        (&[("a.dora_scale", &[8, 1])], 1.0, "{}", &[8, 8], "no change of direction"),
        (
            &[("a.lora_A.weight", &[4, 8]), ("a.lora_B.weight", &[6, 4]), ("a.lora_magnitude_vector", &[5])],
            1.0,
            "{}",
            &[6, 8],
            "its lengths have shape [5]",
        ),
        (
            &[("a.lora_A.weight", &[4, 8]), ("a.lora_B.weight", &[6, 4]), ("a.dora_scale", &[1, 7])],
            1.0,
            "{}",
            &[6, 8],
            "6 rows, 8 columns",
        ),
        // LoHa.
        (&[("a.hada_w1_a", &[8, 2]), ("a.hada_w1_b", &[2, 8])], 1.0, "{}", &[8, 8], "`w2_a` is missing"),
        (
            &[("a.hada_w1_a", &[8, 2]), ("a.hada_w1_b", &[3, 8]), ("a.hada_w2_a", &[8, 2]), ("a.hada_w2_b", &[2, 8])],
            1.0,
            "{}",
            &[8, 8],
            "factors do not fit together",
        ),
        (
            &[("a.hada_w1_a", &[8, 2]), ("a.hada_w1_b", &[2, 8]), ("a.hada_w2_a", &[8, 2]), ("a.hada_w2_b", &[2, 9])],
            1.0,
            "{}",
            &[8, 8],
            "two halves differ in size",
        ),
        (
            &[("a.hada_w1_a", &[8]), ("a.hada_w1_b", &[2, 8]), ("a.hada_w2_a", &[8, 2]), ("a.hada_w2_b", &[2, 8])],
            1.0,
            "{}",
            &[8, 8],
            "expected matrices",
        ),
        // LoKr.
        (&[("a.lokr_w1", &[2, 2])], 1.0, "{}", &[8, 8], "`lokr_w2_a` is missing"),
        (&[("a.lokr_w1", &[4]), ("a.lokr_w2", &[4, 4])], 1.0, "{}", &[8, 8], "side `w1` has shape [4]"),
        (
            &[("a.lokr_w1", &[2, 2]), ("a.lokr_w2_a", &[4, 2]), ("a.lokr_w2_b", &[3, 4])],
            1.0,
            "{}",
            &[8, 8],
            "factors do not fit together",
        ),
        (&[("a.lokr_w1", &[2, 2]), ("a.lokr_w2_a", &[4, 0]), ("a.lokr_w2_b", &[0, 4])], 1.0, "{}", &[8, 8], "is empty"),
        // Factors of rows and columns.
        (&[("a.weight", &[4, 2]), ("a.on_input", &[])], 1.0, "{}", &[8, 8], "expected one for every output or input"),
        (&[("a.on_input", &[])], 1.0, "{}", &[8, 8], "`weight` is missing"),
        (&[("a.weight", &[6]), ("a.on_input", &[])], 1.0, "{}", &[6, 8], "it has 6 factors; the weight has 8 inputs"),
        (
            &[("base_model.model.a.ia3_l", &[1, 8, 1, 1])],
            1.0,
            "{}",
            &[8, 8, 3, 3],
            "says whether it scales inputs or outputs",
        ),
        // Whole differences.
        (
            &[("a.diff", &[8, 8]), ("a.set_weight", &[8, 8])],
            1.0,
            "{}",
            &[8, 8],
            "both adds to the weight and replaces it",
        ),
        (&[("a.set_weight", &[8, 8]), ("a.reshape_weight", &[2])], 3.0, "{}", &[8, 8], "padded to [3, 3]"),
        (&[("a.w_norm", &[8]), ("a.b_norm", &[6])], 1.0, "{}", &[8], "its weight has 8 elements, its bias 6"),
        (
            &[("a.diff_b", &[8]), ("a.lora_A.weight", &[4, 8]), ("a.lora_B.weight", &[6, 4])],
            1.0,
            "{}",
            &[6, 8],
            "as many numbers",
        ),
        // Orthogonal blocks.
        (&[("a.oft_blocks", &[2, 4])], 1.0, "{}", &[8, 8], "expected [count, size, size]"),
        (&[("a.oft_blocks", &[2, 4, 3])], 1.0, "{}", &[8, 8], "expected squares"),
        (&[("a.oft_blocks", &[2, 4, 4]), ("a.rescale", &[7])], 1.0, "{}", &[8, 8], "one factor for each of 8 rows"),
        (&[("a.oft_R.weight", &[2, 5])], 1.0, "{}", &[8, 8], "triangle of 5 elements"),
        (&[("a.oft_R.weight", &[2])], 1.0, "{}", &[8, 8], "expected [count, elements of a triangle]"),
        (&[("a.oft_R.weight", &[2, 6])], 1.0, r#"{"block_share": true}"#, &[8, 6], "does not fit [8, 6]"),
        (&[("a.oft_R.weight", &[3, 6])], 1.0, r#"{"block_share": true}"#, &[8, 8], "do not fill the weight's 8 inputs"),
        (&[("a.oft_blocks", &[3, 2, 4, 4])], 1.0, "{}", &[8, 8], "make no butterfly of 3 stages"),
        (&[("a.oft_blocks", &[1, 2, 4, 3])], 1.0, "{}", &[8, 8], "expected squares"),
        (&[("a.boft_R", &[2, 4, 4])], 1.0, "{}", &[8, 8], "expected [stages, count, size, size]"),
        (
            &[("a.boft_R", &[1, 2, 4, 4]), ("a.boft_s", &[7, 1])],
            1.0,
            "{}",
            &[8, 8],
            "7 factors for the weight's 8 rows",
        ),
        // GLoRA, HRA, RoAd.
        (
            &[("a.a1.weight", &[8, 2]), ("a.a2.weight", &[2, 8]), ("a.b1.weight", &[6, 2])],
            1.0,
            "{}",
            &[6, 8],
            "`b2` is missing",
        ),
        (
            &[("a.a1.weight", &[8, 2]), ("a.a2.weight", &[3, 8]), ("a.b1.weight", &[6, 2]), ("a.b2.weight", &[2, 8])],
            1.0,
            "{}",
            &[6, 8],
            "factors do not fit together: a1",
        ),
        (&[("a.hra_u", &[8])], 1.0, "{}", &[8, 8], "expected [in, rank]"),
        (&[("a.hra_u", &[8, 2])], 0.0, "{}", &[8, 8], "reflection 0 has no direction of its own"),
        (&[("a.hra_u", &[8, 2])], 1.0, r#"{"apply_GS": true}"#, &[6, 8], "reflection 1 has no direction of its own"),
        (&[("a.road_theta", &[8]), ("a.road_alpha", &[7])], 1.0, "{}", &[8, 8], "8 angles and 7 lengths"),
        (
            &[("a.road_theta", &[8]), ("a.road_alpha", &[8])],
            1.0,
            r#"{"group_size": 6}"#,
            &[8, 8],
            "groups of 6 do not divide the weight's 8 rows",
        ),
        (
            &[("a.road_theta", &[5]), ("a.road_alpha", &[5])],
            1.0,
            r#"{"group_size": 4}"#,
            &[8, 8],
            "5 angles for the weight's 8 rows",
        ),
        (&[("a.road_theta", &[8, 1]), ("a.road_alpha", &[8])], 1.0, "{}", &[8, 8], "expected vectors"),
        // SHiRA, VeRA.
        (&[("a.shira_weight", &[5])], 1.0, "{}", &[8, 8], "`shira_indices` is missing"),
        (&[("a.shira_weight", &[5]), ("a.shira_indices", &[2, 4])], 1.0, "{}", &[8, 8], "expected [n] and [2, n]"),
        (
            &[("a.shira_weight", &[1]), ("a.shira_indices", &[2, 1])],
            9.0,
            "{}",
            &[8, 8],
            "the element [9, 9] of a weight of [8, 8]",
        ),
        (&[("a.shira_weight", &[1]), ("a.shira_indices", &[2, 1])], 0.5, "{}", &[8, 8], "the element [0.5, 0.5]"),
        (&[("a.vera_lambda_b", &[8]), ("a.vera_lambda_d", &[4])], 1.0, "{}", &[8, 8], "save_projection"),
        (
            &[("a.vera_lambda_b", &[8]), ("a.vera_lambda_d", &[4]), ("base.vera_A", &[4, 8]), ("base.vera_B", &[6, 4])],
            1.0,
            "{}",
            &[8, 8],
            "do not fit its matrices",
        ),
        (
            &[("a.vera_lambda_b", &[8]), ("a.vera_lambda_d", &[4]), ("base.vera_A", &[4, 7]), ("base.vera_B", &[8, 4])],
            1.0,
            "{}",
            &[8, 8],
            "7 columns, the weight 8",
        ),
        // BitDelta.
        (&[("a.mask", &[8, 1]), ("a.coeff", &[2])], 1.0, "{}", &[8, 8], "expected [rows, bytes] and []"),
        (&[("a.mask", &[8, 1]), ("a.coeff", &[])], 7.0, "{}", &[8, 8], "not packed into U8"),
        (&[("a.mask", &[8, 1]), ("a.coeff", &[])], 1.0, "{}", &[8, 9], "does not fit [8, 9]"),
        // Kinds nobody applies, and files that are none.
        (
            &[("a.lora_A", &[4, 8]), ("a.lora_B", &[8, 4]), ("a.lora_E", &[4, 1])],
            1.0,
            "{}",
            &[8, 8],
            "AdaLoRA adapters are recognised but not applied yet",
        ),
        (
            &[("x.y", &[4])],
            1.0,
            r#"{"peft_type": "NEWTUNER"}"#,
            &[8, 8],
            "adapters of peft's type NEWTUNER are not known",
        ),
        (
            &[("base_model.unilora_theta_d", &[256])],
            1.0,
            r#"{"peft_type": "UNILORA"}"#,
            &[8, 8],
            "adapters of peft's type UNILORA are not known",
        ),
        (
            &[("theta", &[256])],
            1.0,
            r#"{"peft_type": "NEWTUNER"}"#,
            &[8, 8],
            "adapters of peft's type NEWTUNER are not known",
        ),
        (&[("base_model.unilora_theta_d", &[256])], 1.0, "{}", &[8, 8], "no known kind of adapter"),
        (&[("x.norm.weight", &[4]), ("y.norm.weight", &[4])], 1.0, "{}", &[4], "no known kind of adapter"),
        (
            &[("model.diffusion_model.out.2.weight", &[4, 8]), ("y.weight", &[4])],
            1.0,
            "{}",
            &[8, 8],
            "this is a checkpoint",
        ),
    ];
    let mut kinds = 0;
    for (tensors, fill, config, shape, words) in cases {
        let text = said(tensors, *fill, config, shape);
        assert!(text.contains(words), "{tensors:?}: {text}\n lacks {words}");
        kinds += 1;
    }
    assert!(kinds >= 60);
}
