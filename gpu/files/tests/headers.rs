//! Damage to safetensors headers, each kind with the words that must tell it.

use admix_files::safetensors::Index;
use admix_files::{MemSource, ready};

/// A file of that header text and that many bytes of data.
fn file(header: &str, data: usize) -> Vec<u8> {
    raw(header.len() as u64, header.as_bytes(), data)
}

fn raw(claimed: u64, header: &[u8], data: usize) -> Vec<u8> {
    let mut out = claimed.to_le_bytes().to_vec();
    out.extend_from_slice(header);
    out.resize(out.len() + data, 0);
    out
}

fn error_of(bytes: Vec<u8>) -> String {
    let result = ready(Index::read(&MemSource::new(bytes), "x.safetensors"));
    match result {
        Ok(index) => format!("ACCEPTED {index:?}"),
        Err(e) => {
            assert!(e.is_user_fault());
            e.to_string()
        }
    }
}

const A: &str = r#""a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}"#;

#[test]
fn sound_headers_are_read() {
    let bytes = file(
        &format!(
            r#"{{"__metadata__":{{"k":"v"}},{A},"z":{{"dtype":"BOOL","shape":[0,3],"data_offsets":[8,8]}},"s":{{"shape":[],"data_offsets":[8,10],"dtype":"F16"}}}}   "#
        ),
        10,
    );
    let index = ready(Index::read(&MemSource::new(bytes.clone()), "x")).unwrap();
    assert_eq!(index.metadata["k"], "v");
    assert_eq!(index.tensors.keys().collect::<Vec<_>>(), ["a", "z", "s"]);
    assert_eq!(index.tensors["s"].elements(), 1);
    assert_eq!(index.elements(), 3);
    let start = bytes.len() as u64 - 10;
    assert_eq!(index.tensors["a"].range, start..start + 8);
    // A file without tensors is sound too.
    assert!(ready(Index::read(&MemSource::new(file("{}", 0)), "x")).unwrap().tensors.is_empty());
}

#[test]
fn every_kind_of_damage_has_its_message() {
    let t = |fields: &str, data: usize| file(&format!(r#"{{"a":{{{fields}}}}}"#), data);
    let two = |a: &str, b: &str, data: usize| {
        file(
            &format!(
                r#"{{"a":{{"dtype":"U8","shape":[4],"data_offsets":{a}}},"b":{{"dtype":"U8","shape":[4],"data_offsets":{b}}}}}"#
            ),
            data,
        )
    };
    let sound = file(&format!("{{{A}}}"), 8);
    let long_shape = format!(r#""dtype":"U8","shape":[{}1],"data_offsets":[0,1]"#, "1,".repeat(80));
    let deep = format!("{{\"a\":{}1{}}}", "[".repeat(5000), "]".repeat(5000));
    let mut cases: Vec<(Vec<u8>, &str)> = vec![
        (vec![], "the file is empty"),
        (vec![1], "fewer than the eight"),
        (vec![0; 7], "fewer than the eight"),
        (vec![0; 8], "header length is zero"),
        (vec![0; 64], "header length is zero"),
        (raw(100_000_001, b"{}", 0), "more than the limit of 100 MB"),
        (raw(u64::MAX, b"{}", 0), "more than the limit of 100 MB"),
        (raw(3, b"{}", 0), "claims 3 bytes but only 2 follow"),
        (raw(99_999_999, b"{}", 0), "only 2 follow"),
        (sound[..sound.len() - 1].to_vec(), "cut short by 1 bytes"),
        (sound[..20].to_vec(), "cut short"),
        ([sound.clone(), vec![0]].concat(), "1 bytes after the last tensor"),
        (raw(5, b"{\"\xff\":", 0), "not valid UTF-8 (byte 2)"),
        (raw(6, b"{\"\xed\xa0\x80\"", 0), "not valid UTF-8"),
        (file("[]", 0), "does not begin with `{`"),
        (file(" {}", 0), "does not begin with `{`"),
        (file("null", 0), "does not begin with `{`"),
        (file("{", 0), "header is not valid: EOF"),
        (file("{} x", 0), "trailing characters"),
        (file("{\"a\":1}", 0), "tensor `a` to be an object"),
        (file("{\"a\":[]}", 0), "tensor `a` to be an object"),
        (file("{\"a\":null}", 0), "tensor `a` to be an object"),
        (file("{\"\\ud800\":{}}", 0), "header is not valid"),
        (file(&deep, 0), "header is not valid"),
        (file(&format!("{{{A},{A}}}"), 8), "the key `a` appears twice"),
        (file(r#"{"__metadata__":{},"__metadata__":{}}"#, 0), "`__metadata__` appears twice"),
        (file(r#"{"__metadata__":{"k":"1","k":"1"}}"#, 0), "metadata key `k` appears twice"),
        (file(r#"{"__metadata__":{"k":1}}"#, 0), "metadata `k` must be a string"),
        (file(r#"{"__metadata__":[]}"#, 0), "`__metadata__` to be an object"),
        (t(r#""dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]"#, 8), "`a.dtype` appears twice"),
        (t(r#""shape":[2],"data_offsets":[0,8]"#, 8), "tensor `a` lacks `dtype`"),
        (t(r#""dtype":"F32","data_offsets":[0,8]"#, 8), "tensor `a` lacks `shape`"),
        (t(r#""dtype":"F32","shape":[2]"#, 8), "tensor `a` lacks `data_offsets`"),
        (t(r#""dtype":"F32","shape":[2],"data_offsets":[0,8],"x":1"#, 8), "unknown field `x`"),
        (t(r#""dtype":"F8_E8M0","shape":[8],"data_offsets":[0,8]"#, 8), "data type `F8_E8M0`, which cannot be read"),
        (t(r#""dtype":"f32","shape":[2],"data_offsets":[0,8]"#, 8), "data type `f32`"),
        (t(r#""dtype":32,"shape":[2],"data_offsets":[0,8]"#, 8), "header is not valid"),
        (t(r#""dtype":"F32","shape":[-2],"data_offsets":[0,8]"#, 8), "-2 is not a valid size"),
        (t(r#""dtype":"F32","shape":[2.5],"data_offsets":[0,8]"#, 8), "2.5 is not a valid size"),
        (t(r#""dtype":"F32","shape":[99999999999999999999],"data_offsets":[0,8]"#, 8), "is not a valid size"),
        (t(r#""dtype":"F32","shape":["2"],"data_offsets":[0,8]"#, 8), "expected a whole number"),
        (t(r#""dtype":"F32","shape":2,"data_offsets":[0,8]"#, 8), "a list of whole numbers"),
        (t(r#""dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8]"#, 8), "product overflows"),
        (t(r#""dtype":"F64","shape":[4611686018427387904],"data_offsets":[0,0]"#, 0), "product overflows"),
        (t(&long_shape, 1), "more than 64 dimensions"),
        // What comes behind the limit is not even looked at: a hostile list costs no memory.
        (t(&format!(r#""dtype":"U8","shape":[{}x"#, "1,".repeat(65)), 1), "more than 64 dimensions"),
        (t(r#""dtype":"U8","shape":[1],"data_offsets":[0,1,2,x"#, 1), "3 or more data offsets"),
        (t(r#""dtype":"F32","shape":[2],"data_offsets":[-8,0]"#, 8), "-8 is not a valid offset"),
        (t(r#""dtype":"F32","shape":[2],"data_offsets":[0.5,8]"#, 8), "0.5 is not a valid offset"),
        (t(r#""dtype":"F32","shape":[2],"data_offsets":[0,1e30]"#, 8), "is not a valid offset"),
        (
            t(r#""dtype":"U8","shape":[1],"data_offsets":[18446744073709551614,18446744073709551615]"#, 8),
            "is not a valid offset",
        ),
        (t(r#""dtype":"F32","shape":[2],"data_offsets":[0]"#, 8), "1 data offsets instead of two"),
        (t(r#""dtype":"F32","shape":[2],"data_offsets":[0,4,8]"#, 8), "3 or more data offsets instead of two"),
        (t(r#""dtype":"F32","shape":[2],"data_offsets":[8,0]"#, 8), "begins at byte 8 after its end 0"),
        (t(r#""dtype":"F32","shape":[3],"data_offsets":[0,8]"#, 8), "need 12 bytes but its offsets span 8"),
        (t(r#""dtype":"F16","shape":[2],"data_offsets":[0,8]"#, 8), "need 4 bytes but its offsets span 8"),
        (t(r#""dtype":"F32","shape":[2],"data_offsets":[0,8]"#, 4), "cut short by 4 bytes"),
        (t(r#""dtype":"F32","shape":[2],"data_offsets":[1000000,1000008]"#, 8), "reaches to byte 1000008"),
        (two("[0,4]", "[2,6]", 6), "tensors `a` and `b` overlap"),
        (two("[0,4]", "[0,4]", 4), "overlap"),
        (two("[0,4]", "[6,10]", 10), "2 bytes before tensor `b` belong to no tensor"),
        (two("[2,6]", "[6,10]", 10), "2 bytes before tensor `a` belong to no tensor"),
        (two("[0,4]", "[4,8]", 9), "1 bytes after the last tensor"),
    ];
    cases.extend([
        (b"PK\x03\x04 a zip archive".to_vec(), "zip archive, as torch.save writes: a pickle"),
        (b"\x80\x02}q\x00(X\x05\x00\x00\x00".to_vec(), "this is a pickle"),
        (b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00}".to_vec(), "this is a pickle"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:".to_vec(), "Git LFS pointer"),
        (b"<!DOCTYPE html><html>".to_vec(), "this is a web page"),
        (b"\n  <HTML><head>".to_vec(), "this is a web page"),
        (b"GGUF\x03\x00\x00\x00".to_vec(), "GGUF"),
        (br#"{"error":"Unauthorized"}"#.to_vec(), "this is a text (`{\"error\":\"Unauthorized\"}`), not a model"),
        (b"Entry not found".to_vec(), "this is a text (`Entry not found`)"),
        (b"\xef\xbb\xbf<!DOCTYPE html>".to_vec(), "this is a web page"),
        (b"7z\xbc\xaf\x27\x1c\x00\x04".to_vec(), "this is a 7z archive"),
        (b"\x1f\x8b\x08\x00\x00\x00\x00\x00".to_vec(), "this is a gzip archive"),
        (b"%PDF-1.7\n".to_vec(), "this is a PDF"),
        (b"\x89PNG\r\n\x1a\n".to_vec(), "this is a picture"),
    ]);
    assert!(cases.len() >= 40);
    for (bytes, expected) in cases {
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(160)]).into_owned();
        let error = error_of(bytes);
        assert!(error.contains(expected), "{shown}\n  gave {error}\n  not  {expected}");
        assert!(error.starts_with("x.safetensors: ") && !error.contains('\n'), "{error}");
    }
}

#[test]
fn pickles_are_refused_by_name_with_the_way_to_convert_them() {
    for name in ["a.ckpt", "a.pt", "A.PTH", "pytorch_model.bin", "x/y.pkl"] {
        let error = admix_files::safetensors::refuse_by_name(name).unwrap_err().to_string();
        assert!(error.contains("pickle") && error.contains("save_file"), "{error}");
    }
    assert!(admix_files::safetensors::refuse_by_name("a.safetensors").is_ok());
    assert!(admix_files::safetensors::refuse_by_name("folder").is_ok());
}

/// A header whose first bytes look like a pickle's protocol mark is still a safetensors file.
#[test]
fn a_header_of_640_bytes_is_no_pickle() {
    for len in [0x280u64, 0x380, 0x480, 0x580] {
        let mut header = "{}".to_owned();
        header.extend(std::iter::repeat_n(' ', len as usize - 2));
        assert!(ready(Index::read(&MemSource::new(file(&header, 0)), "x")).is_ok(), "{len}");
    }
}
