//! Whatever the bytes, reading never panics; what is read as sound is so by the reference implementation too.

use admix_files::adapter::Adapter;
use admix_files::checkpoint::{Checkpoint, OpenOptions};
use admix_files::config::{SchedulerConfig, TextConfig, UNetConfig, VaeConfig};
use admix_files::layout::ldm::{UNetBlocks, VaeBlocks};
use admix_files::layout::{unet_tensors, vae_tensors};
use admix_files::safetensors::{Index, TensorSpec, write_to_vec};
use admix_files::{Bundle, DType, MemSource, ready};
use proptest::prelude::*;
use std::sync::Arc;

fn with_header(header: &[u8], data: usize) -> Vec<u8> {
    let mut out = (header.len() as u64).to_le_bytes().to_vec();
    out.extend_from_slice(header);
    out.resize(out.len() + data, 0);
    out
}

/// Texts near a header: fragments in any order.
fn near_header() -> impl Strategy<Value = String> {
    let fragment = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"a\"",
        "\"b\"",
        "\"__metadata__\"",
        "\"dtype\"",
        "\"shape\"",
        "\"data_offsets\"",
        "\"F32\"",
        "\"U8\"",
        "0",
        "1",
        "4",
        "-1",
        "1.5",
        "1e400",
        "18446744073709551615",
        "null",
        " ",
        "\\u0000",
        "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}",
        "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,",
        "]}}",
    ]);
    prop::collection::vec(fragment, 0..24).prop_map(|v| v.concat())
}

fn specs() -> impl Strategy<Value = Vec<TensorSpec>> {
    let one = ("[a-z_.0-9]{1,12}", prop::sample::select(DType::ALL.to_vec()), prop::collection::vec(0usize..4, 0..4));
    prop::collection::vec(one, 0..6).prop_map(|list| {
        let mut out: Vec<TensorSpec> = Vec::new();
        for (name, dtype, shape) in list {
            if !out.iter().any(|t| t.name == name) {
                out.push(TensorSpec { name, dtype, shape });
            }
        }
        out
    })
}

fn everything(bytes: Vec<u8>) {
    let bundle = || Bundle::file("x.safetensors", Arc::new(MemSource::new(bytes.clone())));
    if let Ok(c) = ready(Checkpoint::load(bundle(), &OpenOptions::default())) {
        let _ = c.check_renderable();
        let _ = c.parameters();
    }
    if let Ok(a) = ready(Adapter::load(bundle())) {
        for m in a.modules.values() {
            let _ = ready(a.factors(m));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        everything(bytes.clone());
        everything(with_header(&bytes, 4));
    }

    #[test]
    fn what_is_accepted_is_sound(header in near_header(), data in 0usize..6) {
        let bytes = with_header(header.as_bytes(), data);
        if let Ok(index) = Index::parse(&bytes, bytes.len() as u64) {
            // The reference implementation is laxer, never stricter.
            let theirs = safetensors::SafeTensors::deserialize(&bytes).expect("the reference refuses it");
            prop_assert_eq!(theirs.len(), index.tensors.len());
        }
        everything(bytes);
    }

    #[test]
    fn what_is_written_is_read_back_by_both(specs in specs(), key in "[a-z]{0,5}", value in "\\PC{0,12}") {
        let metadata = [(key, value)].into_iter().collect();
        let data: Vec<Vec<u8>> = specs.iter().map(|s| (0..s.bytes().unwrap()).map(|i| i as u8).collect()).collect();
        let bytes = write_to_vec(&specs, &metadata, data.clone()).unwrap();
        let ours = Index::parse(&bytes, bytes.len() as u64).unwrap();
        prop_assert_eq!(&ours.metadata, &metadata);
        let theirs = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        for (spec, data) in specs.iter().zip(&data) {
            let info = &ours.tensors[&spec.name];
            prop_assert_eq!((info.dtype, &info.shape), (spec.dtype, &spec.shape));
            let range = info.range.start as usize..info.range.end as usize;
            prop_assert_eq!(&bytes[range], &data[..]);
            prop_assert_eq!(theirs.tensor(&spec.name).unwrap().data(), &data[..]);
        }
    }

    /// One changed byte anywhere in a sound file: an error or another sound file, never a panic.
    #[test]
    fn a_flipped_byte_never_panics(at in 0usize..400, to in any::<u8>()) {
        let t = |name: &str, shape: &[usize]| TensorSpec { name: name.into(), dtype: DType::F16, shape: shape.to_vec() };
        let specs = [
            t("lora_unet_mid_block_attentions_0_proj_in.lora_up.weight", &[4, 2]),
            t("lora_unet_mid_block_attentions_0_proj_in.lora_down.weight", &[2, 4]),
            t("lora_unet_mid_block_attentions_0_proj_in.alpha", &[]),
        ];
        let data = specs.iter().map(|s| vec![0x3c; s.bytes().unwrap() as usize]);
        let mut bytes = write_to_vec(&specs, &Default::default(), data).unwrap();
        let at = at % bytes.len();
        bytes[at] = to;
        everything(bytes);
    }

    #[test]
    fn configurations_never_panic(text in "\\PC{0,80}", field in prop::sample::select(vec![
        "block_out_channels", "layers_per_block", "attention_head_dim", "cross_attention_dim", "sample_size",
        "down_block_types", "transformer_layers_per_block", "hidden_size", "beta_start", "trained_betas",
    ]), value in prop::sample::select(vec!["0", "-1", "1e99", "[]", "[0]", "[1,2]", "\"x\"", "{}", "[[1]]", "true", "99999999999"])) {
        for text in [text, format!("{{\"{field}\": {value}}}")] {
            let text = text.as_bytes();
            if let Ok(c) = UNetConfig::from_json("x", text) {
                let _ = c.check_supported();
                prop_assert_eq!(&UNetConfig::from_map("x", c.to_json().as_object().unwrap()).unwrap(), &c);
            }
            if let Ok(c) = VaeConfig::from_json("x", text) {
                let _ = c.check_supported();
            }
            if let Ok(c) = TextConfig::from_json("x", text) {
                prop_assert_eq!(&TextConfig::from_map("x", c.to_json().as_object().unwrap()).unwrap(), &c);
            }
            if let Ok(c) = SchedulerConfig::from_json("x", text) {
                prop_assert_eq!(&SchedulerConfig::from_map("x", c.to_json().as_object().unwrap()).unwrap(), &c);
            }
        }
    }

    /// For any shape of U-Net and autoencoder: every name has an ldm name, they differ, and the way back leads home;
    /// and the blocks that the keys show are those of the configuration.
    #[test]
    fn names_map_to_ldm_and_back(
        layers in prop::collection::vec(1usize..4, 1..5),
        attention in prop::collection::vec(any::<bool>(), 5),
        vae_layers in 1usize..4,
    ) {
        let n = layers.len();
        let kind = |on: bool, way: &str| format!("{}{way}Block2D", if on { "CrossAttn" } else { "" });
        let down: Vec<String> = (0..n).map(|i| kind(attention[i], "Down")).collect();
        let up: Vec<String> = (0..n).map(|i| kind(attention[n - 1 - i], "Up")).collect();
        let json = serde_json::json!({ "block_out_channels": vec![32; n], "layers_per_block": layers,
            "down_block_types": down, "up_block_types": up, "cross_attention_dim": 8 });
        let c = UNetConfig::from_json("x", json.to_string().as_bytes()).unwrap();
        let blocks = UNetBlocks::of(&c);
        check_names(unet_tensors(&c).into_keys(), "unet.", &blocks.renames(), |keys| {
            assert_eq!(UNetBlocks::from_keys(keys.iter().map(String::as_str)).as_ref(), Some(&blocks));
        });
        let json = serde_json::json!({ "block_out_channels": vec![32; n], "layers_per_block": vae_layers,
            "down_block_types": vec!["DownEncoderBlock2D"; n], "up_block_types": vec!["UpDecoderBlock2D"; n] });
        let c = VaeConfig::from_json("x", json.to_string().as_bytes()).unwrap();
        let blocks = VaeBlocks::of(&c);
        check_names(vae_tensors(&c).into_keys(), "vae.", &blocks.renames(), |keys| {
            assert_eq!(VaeBlocks::from_keys(keys.iter().map(String::as_str)).as_ref(), Some(&blocks));
        });
    }
}

fn check_names(
    names: impl Iterator<Item = String>,
    prefix: &str,
    renames: &admix_files::layout::ldm::Renames,
    also: impl Fn(&[String]),
) {
    let mut keys = Vec::new();
    for name in names {
        let name = name.strip_prefix(prefix).unwrap();
        let key = renames.ldm(name).unwrap_or_else(|| panic!("{name} has no ldm name"));
        assert_eq!(renames.canonical(&key).as_deref(), Some(name));
        keys.push(key);
    }
    let count = keys.len();
    also(&keys);
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), count);
}
