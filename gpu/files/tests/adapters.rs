//! Adapters against the numbers that peft and diffusers give for them, and adapters that do not fit.

mod common;

use admix_files::adapter::{Adapter, Change, Encoder, Factors, Module};
use admix_files::inspect::Inspected;
use admix_files::safetensors::{Index, TensorSpec, write_to_vec};
use admix_files::{Bundle, ByteSource, Checkpoint, DType, FileSource, MemSource, ready};
use common::{golden, model};
use serde_json::Value;
use std::sync::Arc;

#[test]
fn ranks_scales_and_effective_weights_of_the_fixtures() {
    let dir = tempfile::tempdir().unwrap();
    let base = Checkpoint::open(model("sd1_tiny", dir.path())).unwrap();
    for (file, dialect, kind) in [
        ("kohya.safetensors", "kohya", "locon"),
        ("diffusers.safetensors", "diffusers", "locon"),
        ("old_processor.safetensors", "diffusers", "lora"),
        ("peft_rslora", "peft", "locon"),
    ] {
        let adapter = Adapter::open(golden().join("adapters").join(file)).unwrap();
        assert_eq!((adapter.dialect, adapter.kind.as_str()), (dialect, kind), "{file}");
        adapter.check_supported().unwrap();
        let fit = adapter.fit(&base);
        assert!(fit.unmatched.is_empty() && fit.mismatched.is_empty() && fit.cause.is_none(), "{file} {fit:?}");
        let stem = file.trim_end_matches(".safetensors");
        let source = FileSource::open(golden().join(format!("adapters/{stem}.golden.safetensors"))).unwrap();
        let index = ready(Index::read(&source, stem)).unwrap();
        let about: Value = serde_json::from_str(&index.metadata["admix_golden"]).unwrap();
        let modules = about["modules"].as_object().unwrap();
        assert_eq!(modules.len(), fit.matched.len());
        let strength = about["weight"].as_f64().unwrap();
        let mut whole = 0;
        for m in &fit.matched {
            let module = &adapter.modules[&m.module];
            let expected = &modules[m.weight.strip_suffix(".weight").unwrap()];
            assert_eq!(module.rank, expected["rank"].as_u64().map(|r| r as usize), "{}", m.weight);
            // Scales that are alpha over the root of the rank come from Python's own f64 arithmetic.
            assert!(
                (module.scale - expected["scale"].as_f64().unwrap()).abs() < 1e-12,
                "{} {}",
                m.weight,
                module.scale
            );
            let Some(info) = index.tensors.get(&format!("effective.{}", m.weight)) else { continue };
            let factors = factors(&adapter, module, &base.tensor(&m.weight).unwrap().shape);
            let weight = ready(base.read_f32(&m.weight)).unwrap();
            let expected = info.dtype.decode_f32(&ready(source.read(info.range.clone())).unwrap());
            let (mut off, mut norm) = (0.0, 0.0);
            for ((w, d), e) in weight.iter().zip(factors.delta()).zip(&expected) {
                let found = f64::from(*w) + strength * f64::from(d);
                off += (found - f64::from(*e)).powi(2);
                norm += f64::from(*e).powi(2);
            }
            assert!((off / norm).sqrt() <= 1e-6, "{} {}", m.weight, (off / norm).sqrt());
            whole += 1;
        }
        assert_eq!(whole, 2, "{file}: the fixture holds two effective weights");
    }
}

/// The factors of a low-rank module.
fn factors(adapter: &Adapter, module: &Module, shape: &[usize]) -> Factors {
    match ready(adapter.changes(module, shape)).unwrap().weight {
        Some(Change::LowRank(factors)) => factors,
        other => panic!("{other:?}"),
    }
}

type Tensors<'a> = &'a [(&'a str, &'a [usize])];

fn bytes_of(tensors: Tensors, metadata: &[(&str, &str)]) -> Vec<u8> {
    let specs: Vec<_> =
        tensors.iter().map(|(n, s)| TensorSpec { name: (*n).into(), dtype: DType::F32, shape: s.to_vec() }).collect();
    let data = specs.iter().enumerate().map(|(i, s)| {
        let n: usize = s.shape.iter().product();
        let values: Vec<f32> = (0..n).map(|j| ((i * 31 + j * 7) % 13) as f32 / 4.0 - 1.5).collect();
        DType::F32.encode_f32(&values)
    });
    let metadata = metadata.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    write_to_vec(&specs, &metadata, data).unwrap()
}

fn open(tensors: Tensors, metadata: &[(&str, &str)]) -> admix_files::Result<Adapter> {
    let source = Arc::new(MemSource::new(bytes_of(tensors, metadata)));
    ready(Adapter::load(Bundle::file("x.safetensors", source)))
}

#[test]
fn tuckers_middle_is_folded_exactly() {
    let a = open(
        &[
            ("lora_unet_x.lora_up.weight", &[5, 2, 1, 1]),
            ("lora_unet_x.lora_mid.weight", &[2, 3, 3, 3]),
            ("lora_unet_x.lora_down.weight", &[3, 4, 1, 1]),
        ],
        &[],
    )
    .unwrap();
    assert_eq!(a.kind, "locon");
    let module = &a.modules["lora_unet_x"];
    assert_eq!(module.scale, 1.0);
    let [u, d, m] = ["up", "down", "mid"].map(|role| {
        ready(a.read_f32(module.group.get(role).unwrap())).unwrap().into_iter().map(f64::from).collect::<Vec<_>>()
    });
    let factors = factors(&a, module, &[5, 4, 3, 3]);
    assert_eq!((factors.out, factors.inp, factors.rank), (5, 4 * 9, 2));
    let delta = factors.delta();
    for o in 0..5 {
        for i in 0..4 {
            for k in 0..9 {
                // The definition, term by term.
                let mut sum = 0.0;
                for p in 0..2 {
                    for q in 0..3 {
                        sum += u[o * 2 + p] * m[(p * 3 + q) * 9 + k] * d[q * 4 + i];
                    }
                }
                let found = f64::from(delta[(o * 4 + i) * 9 + k]);
                assert!((found - sum).abs() <= 1e-6 * sum.abs().max(1.0), "{found} {sum}");
            }
        }
    }
}

#[test]
fn both_spellings_of_kohya_and_all_of_diffusers_find_their_weight() {
    let dir = tempfile::tempdir().unwrap();
    let base = Checkpoint::open(model("sd1_4level", dir.path())).unwrap();
    let attention = "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_out.0.weight";
    let text = "text_encoder.text_model.encoder.layers.1.mlp.fc1.weight";
    for (spelling, weight) in [
        ("lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_out_0", attention),
        ("lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_out_0", attention),
        ("lycoris_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_out_0", attention),
        ("unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_out.0", attention),
        ("unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.processor.to_out", attention),
        ("down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_out.0", attention),
        ("diffusion_model.input_blocks.4.1.transformer_blocks.0.attn1.to_out.0", attention),
        ("base_model.model.down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_out.0", attention),
        ("lora_te_text_model_encoder_layers_1_mlp_fc1", text),
        ("lora_te1_text_model_encoder_layers_1_mlp_fc1", text),
        ("text_encoder.text_model.encoder.layers.1.mlp.fc1", text),
        ("text_encoder.encoder.layers.1.mlp.fc1", text),
        ("base_model.model.text_model.encoder.layers.1.mlp.fc1", text),
        ("base_model.model.encoder.layers.1.mlp.fc1", text),
        ("lora_unet_time_embedding_linear_1", "unet.time_embedding.linear_1.weight"),
        ("lora_unet_time_embed_0", "unet.time_embedding.linear_1.weight"),
        ("lora_unet_input_blocks_3_0_op", "unet.down_blocks.0.downsamplers.0.conv.weight"),
        ("lora_unet_middle_block_0_in_layers_2", "unet.mid_block.resnets.0.conv1.weight"),
        ("lora_unet_output_blocks_2_1_conv", "unet.up_blocks.0.upsamplers.0.conv.weight"),
        ("lora_unet_output_blocks_5_2_conv", "unet.up_blocks.1.upsamplers.0.conv.weight"),
    ] {
        let shape = &base.tensor(weight).unwrap().shape;
        let mut down = shape.clone();
        down[0] = 2;
        let (d, u) = (format!("{spelling}.lora_down.weight"), format!("{spelling}.lora_up.weight"));
        let a = open(&[(&d, &down), (&u, &[shape[0], 2])], &[]).unwrap();
        let fit = a.fit(&base);
        assert_eq!(fit.matched.len(), 1, "{spelling}: {fit:?}");
        assert_eq!(fit.matched[0].weight, weight);
    }
}

#[test]
fn a_linear_lora_fits_a_1x1_convolution_and_the_other_way_round() {
    let dir = tempfile::tempdir().unwrap();
    for (name, other) in [("sd1_tiny", vec![2, 16]), ("sd2_tiny", vec![2, 12, 1, 1])] {
        let base = Checkpoint::open(model(name, dir.path())).unwrap();
        let width = other[1];
        let key = "unet.down_blocks.0.attentions.0.proj_in";
        let a = open(&[(&format!("{key}.lora_A.weight"), &other), (&format!("{key}.lora_B.weight"), &[width, 2])], &[])
            .unwrap();
        let fit = a.fit(&base);
        assert_eq!(fit.matched.len(), 1, "{fit:?}");
    }
}

#[test]
fn kinds_that_are_not_applied_are_named_and_refused() {
    for (kind, endings) in [
        ("adalora", &[("lora_A", &[2, 8][..]), ("lora_B", &[8, 2]), ("lora_E", &[2, 1])][..]),
        ("fourierft", &[("fourierft_spectrum", &[10])]),
        ("waveft", &[("waveft_spectrum", &[10])]),
        ("vblora", &[("vblora_logits_A", &[2, 8]), ("vblora_logits_B", &[8, 2])]),
        ("randlora", &[("randlora_lambda", &[2, 8]), ("randlora_gamma", &[2, 8])]),
        ("c3a", &[("c3a_kernel", &[2, 2, 4])]),
        ("delora", &[("delora_A", &[2, 8]), ("delora_B", &[8, 2]), ("delora_lambda", &[1])]),
        ("miss", &[("miss_block", &[2, 8])]),
        ("gralora", &[("gralora_A", &[2, 2, 8]), ("gralora_B", &[2, 2, 8])]),
        ("tlora", &[("lambda_layer", &[1, 4]), ("q_layer.weight", &[4, 8]), ("p_layer.weight", &[8, 4])]),
        ("oft_old", &[("oft_r", &[2, 4, 4])]),
        ("ln_tuning", &[("ln_tuning_layers.weight", &[8]), ("ln_tuning_layers.bias", &[8])]),
    ] {
        let named: Vec<(String, &[usize])> =
            endings.iter().map(|(e, s)| (format!("base_model.model.mid_block.attentions.0.proj_in.{e}"), *s)).collect();
        let list: Vec<(&str, &[usize])> = named.iter().map(|(n, s)| (n.as_str(), *s)).collect();
        let a = open(&list, &[]).unwrap_or_else(|e| panic!("{kind}: {e}"));
        assert_eq!(a.kind, kind);
        let e = a.check_supported().unwrap_err().to_string();
        assert!(e.contains("recognised but not applied yet"), "{e}");
        assert_eq!(ready(a.describe()).unwrap()["type"], kind);
    }
}

#[test]
fn textual_inversions_in_all_layouts() {
    let dir = tempfile::tempdir().unwrap();
    let base = Checkpoint::open(model("sd1_tiny", dir.path())).unwrap();
    let read = |tensors: Tensors| {
        let a = open(tensors, &[]).unwrap();
        assert_eq!(a.kind, "embedding");
        a.check_supported().unwrap();
        (ready(a.embedding()).unwrap().unwrap(), a)
    };
    for key in ["emb_params", "string_to_param.*", "string_to_param"] {
        let (e, a) = read(&[(key, &[3, 32])]);
        assert_eq!(e.names, ["x"], "the file's stem");
        assert_eq!((e.rows.len(), e.rows[0].tokens, e.rows[0].width, e.rows[0].values.len()), (1, 3, 32, 96));
        assert_eq!(e.rows_for(Encoder::First, 32).unwrap().tokens, 3);
        let fit = a.fit(&base);
        assert_eq!((fit.matched.len(), fit.cause), (1, None));
        assert_eq!(fit.matched[0].weight, "text_encoder.text_model.embeddings.token_embedding.weight");
    }
    let (e, a) = read(&[("<my-cat>", &[768])]);
    assert_eq!(e.names, ["<my-cat>", "x"]);
    assert_eq!((e.rows[0].tokens, e.rows[0].width), (1, 768));
    assert!(a.fit(&base).cause.unwrap().contains("768 wide (SD 1.x); this model's text encoder has 32"));
    assert!(e.rows_for(Encoder::First, 32).unwrap_err().to_string().contains("768 wide"));
    let (e, a) = read(&[("clip_g", &[2, 1280]), ("clip_l", &[2, 32])]);
    assert_eq!(e.rows.iter().map(|r| r.encoder).collect::<Vec<_>>(), [Encoder::First, Encoder::Second]);
    let fit = a.fit(&base);
    assert_eq!((fit.matched.len(), fit.unmatched), (1, vec!["clip_g".to_owned()]));
    let uneven = open(&[("clip_g", &[3, 1280]), ("clip_l", &[2, 768])], &[]).unwrap();
    assert!(ready(uneven.embedding()).unwrap_err().to_string().contains("2 rows for the first text encoder and 3"));
    // A LoRA has none.
    let lora = open(&[("unet.a.lora_A.weight", &[4, 8]), ("unet.a.lora_B.weight", &[8, 4])], &[]).unwrap();
    assert_eq!(ready(lora.embedding()).unwrap(), None);
}

#[test]
fn a_lora_on_the_token_table_is_transposed() {
    let dir = tempfile::tempdir().unwrap();
    let base = Checkpoint::open(model("sd1_tiny", dir.path())).unwrap();
    let table = "text_encoder.text_model.embeddings.token_embedding.weight";
    let shape = base.tensor(table).unwrap().shape.clone();
    let key = "base_model.model.text_model.embeddings.token_embedding";
    let (a, b) = (format!("{key}.lora_embedding_A"), format!("{key}.lora_embedding_B"));
    let adapter = open(&[(&a, &[2, shape[0]]), (&b, &[shape[1], 2])], &[]).unwrap();
    let fit = adapter.fit(&base);
    assert_eq!(fit.matched[0].weight, table);
    let module = &adapter.modules[key];
    let [a, b] = ["embedding_a", "embedding_b"].map(|r| ready(adapter.read_f32(module.group.get(r).unwrap())).unwrap());
    let delta = factors(&adapter, module, &shape).delta();
    // peft: (B A)^T, so row `token` is the sum over ranks of A[r, token] B[.., r].
    let (token, i) = (17, 5);
    let expected = a[token] * b[i * 2] + a[shape[0] + token] * b[i * 2 + 1];
    assert!((delta[token * shape[1] + i] - expected).abs() < 1e-6);
}

#[test]
fn weights_are_replaced_and_only_padded_to_what_they_are() {
    let open = |extra: Tensors| {
        let all: Vec<(&str, &[usize])> =
            [("diffusion_model.x.set_weight", &[4, 3][..])].iter().chain(extra).copied().collect();
        open(&all, &[]).unwrap()
    };
    let a = open(&[]);
    let changes = ready(a.changes(&a.modules["diffusion_model.x"], &[4, 3])).unwrap();
    assert!(matches!(changes.weight, Some(Change::Replace(values)) if values.len() == 12));
    // Beside a LoRA too, as integers: a shape that the weight has already changes nothing.
    let lora = |shape: [i64; 2]| {
        let specs = [
            ("x.lora_up.weight", DType::F32, vec![4, 1]),
            ("x.lora_down.weight", DType::F32, vec![1, 3]),
            ("x.reshape_weight", DType::I64, vec![2]),
        ]
        .map(|(name, dtype, shape)| TensorSpec { name: name.into(), dtype, shape });
        let data =
            [DType::F32.encode_f32(&[1.0; 4]), DType::F32.encode_f32(&[1.0; 3]), shape.map(i64::to_le_bytes).concat()];
        let source = Arc::new(MemSource::new(write_to_vec(&specs, &Default::default(), data).unwrap()));
        let a = ready(Adapter::load(Bundle::file("x.safetensors", source))).unwrap();
        ready(a.changes(&a.modules["x"], &[4, 3]))
    };
    assert!(matches!(lora([4, 3]).unwrap().weight, Some(Change::LowRank(_))));
    assert!(lora([4, 5]).unwrap_err().to_string().contains("padded to [4, 5]"));
    let padded = open(&[("diffusion_model.x.reshape_weight", &[2])]);
    let e = ready(padded.changes(&padded.modules["diffusion_model.x"], &[4, 3])).unwrap_err().to_string();
    assert!(e.contains("padded"), "{e}");
}

#[test]
fn damage_is_named() {
    let fails = |tensors: Tensors, metadata: &[(&str, &str)], words: &str| {
        let e = open(tensors, metadata).err().unwrap_or_else(|| panic!("accepted: {words}"));
        assert!(e.is_user_fault() && e.to_string().contains(words), "{e}\n lacks {words}");
    };
    fails(
        &[("a.lora_A.weight", &[4, 8]), ("a.lora_B.weight", &[8, 2])],
        &[],
        "different ranks: up [8, 2], down [4, 8]",
    );
    fails(&[("a.lora_A.weight", &[4]), ("a.lora_B.weight", &[8, 4])], &[], "down factor has shape [4]");
    fails(&[("a.lora_A.weight", &[4, 8]), ("a.lora_B.weight", &[8, 4, 3, 3])], &[], "up factor has shape [8, 4, 3, 3]");
    fails(&[("a.lora_A.weight", &[0, 8]), ("a.lora_B.weight", &[8, 0])], &[], "rank is 0");
    fails(
        &[("a.lora_A.weight", &[4, 8]), ("a.lora_B.weight", &[8, 4]), ("a.alpha", &[2])],
        &[],
        "expected a single number",
    );
    fails(&[("a.lora_A.weight", &[4, 8]), ("a.lora.down.weight", &[4, 8])], &[], "two tensors for `down`");
    fails(&[("x.weight", &[4, 8]), ("y.weight", &[4, 8])], &[], "no known kind of adapter");
    fails(&[("model.diffusion_model.out.2.weight", &[4, 8]), ("y.weight", &[4, 8])], &[], "this is a checkpoint");
    let pair: Tensors = &[("unet.a.lora_A.weight", &[4, 8]), ("unet.a.lora_B.weight", &[8, 4])];
    fails(pair, &[("lora_adapter_metadata", "{")], "metadata `lora_adapter_metadata`: not valid JSON");
    fails(pair, &[("lora_adapter_metadata", r#"{"unet.lora_alpha": []}"#)], "`lora_alpha` is [] (a list)");
    let stated =
        open(pair, &[("lora_adapter_metadata", r#"{"unet.lora_alpha": 6, "unet.use_rslora": true}"#)]).unwrap();
    assert_eq!(stated.modules["unet.a"].scale, 3.0);
}

#[test]
fn what_does_not_fit_is_reported_with_its_cause() {
    let dir = tempfile::tempdir().unwrap();
    let base = Checkpoint::open(model("sd1_tiny", dir.path())).unwrap();
    let cross = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k";
    let pair = |module: &str, out: usize, inp: usize, metadata: &[(&str, &str)]| {
        let (d, u) = (format!("{module}.lora_down.weight"), format!("{module}.lora_up.weight"));
        open(&[(&d, &[2, inp]), (&u, &[out, 2])], metadata).unwrap()
    };
    let cause = |a: &Adapter| a.fit(&base).cause.unwrap();
    let xl = pair(cross, 640, 2048, &[]);
    assert_eq!(cause(&xl), "made for SDXL (cross-attention 2048); this model is SD 1.x (32)");
    let report = xl.fit(&base);
    assert_eq!((report.matched.len(), report.mismatched.len()), (0, 1));
    assert_eq!((&report.mismatched[0].expected, &report.mismatched[0].found), (&vec![16, 32], &vec![640, 2048]));
    let e = report.require_any(&xl).unwrap_err().to_string();
    assert!(e.contains("none of its 1 modules fits") && e.contains("made for SDXL"), "{e}");
    let v2 = pair("lora_unet_nothing_attn1_to_q", 8, 8, &[("ss_base_model_version", "sd_v2_768_v")]);
    assert!(cause(&v2).starts_with("made for SD 2.x (its metadata says `sd_v2_768_v`)"), "{}", cause(&v2));
    let flux = pair("lora_unet_double_blocks_0_img_attn_proj", 8, 8, &[]);
    assert!(cause(&flux).contains("diffusion transformer"));
    let wide = pair("lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q", 20, 20, &[]);
    assert!(cause(&wide).contains("other widths"), "{}", cause(&wide));
    let unknown = pair("lora_unet_something", 8, 8, &[]);
    assert!(cause(&unknown).contains("none of its names (e.g. `lora_unet_something`)"));
    let text = pair("lora_te_text_model_encoder_layers_0_mlp_fc1", 37, 32, &[]);
    assert_eq!(cause(&text), "it changes the text encoder only");
    let unet_only = Checkpoint::open(golden().join("models/sd1_tiny/unet")).unwrap();
    let report = text.fit(&unet_only);
    assert_eq!(report.unmatched.len(), 1);
    assert!(report.cause.unwrap().contains("does not have"));
    // A stray key is never passed over in silence.
    let d = format!("{cross}.lora_down.weight");
    let u = format!("{cross}.lora_up.weight");
    let a =
        open(&[(&d, &[2, 32]), (&u, &[16, 2]), ("lora_unet_x.lora_up.weight", &[2, 2]), ("extra", &[1])], &[]).unwrap();
    let report = a.fit(&base);
    assert_eq!(report.matched.len(), 1);
    assert_eq!(report.unmatched, ["extra", "lora_unet_x.lora_up.weight"]);
    let json = report.to_json();
    assert_eq!(json["matched"], 1);
}

#[test]
fn inspection_tells_adapters_from_checkpoints() {
    let dir = tempfile::tempdir().unwrap();
    let folder = model("sd1_tiny", dir.path());
    let base = Checkpoint::open(&folder).unwrap();
    let about = |path: &std::path::Path, against: Option<&Checkpoint>| {
        let found = ready(Inspected::load(Bundle::open(path).unwrap())).unwrap();
        ready(found.describe(against)).unwrap()
    };
    let c = about(&folder, None);
    assert_eq!(
        (&c["kind"], &c["family"], &c["format"], &c["dtype"]),
        (&"checkpoint".into(), &"sd1".into(), &"diffusers".into(), &"F16".into())
    );
    assert_eq!(c["parameters"], base.parameters());
    assert_eq!(c["sha256"].as_str().unwrap().len(), 64);
    assert_eq!((&c["prediction"], &c["renderable"]), (&"epsilon".into(), &true.into()));
    let a = about(&golden().join("adapters/kohya.safetensors"), Some(&base));
    assert_eq!(
        (&a["kind"], &a["type"], &a["family"], &a["rank"]),
        (&"adapter".into(), &"locon".into(), &"sd1".into(), &8.into())
    );
    assert_eq!(a["triggers"], serde_json::json!(["inkwash", "paper"]));
    assert_eq!(a["fit"]["unmatched"], serde_json::json!([]));
    let a = about(&golden().join("adapters/peft_rslora/adapter_model.safetensors"), Some(&base));
    assert_eq!(a["fit"]["matched"], about(&golden().join("adapters/peft_rslora"), Some(&base))["fit"]["matched"]);
    // The configuration beside a lone adapter_model.safetensors is found.
    let lone = Adapter::open(golden().join("adapters/peft_rslora/adapter_model.safetensors")).unwrap();
    assert!(lone.modules.values().all(|m| m.alpha.is_some()));
}
