//! Writing files: whole or not at all.

use admix_files::safetensors::{FileWriter, Index, TensorSpec};
use admix_files::{DType, FileSource, ready};

fn specs() -> Vec<TensorSpec> {
    let t = |name: &str, shape: &[usize]| TensorSpec { name: name.into(), dtype: DType::U8, shape: shape.to_vec() };
    vec![t("b", &[3]), t("a", &[0]), t("c", &[2, 2])]
}

#[test]
fn a_file_appears_only_when_it_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.safetensors");
    let count = || std::fs::read_dir(dir.path()).unwrap().count();
    {
        let mut w = FileWriter::create(&path, specs(), &Default::default()).unwrap();
        w.write("b", &[1, 2, 3]).unwrap();
        assert!(!path.exists());
        assert_eq!(count(), 1);
    }
    assert_eq!(count(), 0, "dropped half-way: nothing stays");
    let mut w = FileWriter::create(&path, specs(), &Default::default()).unwrap();
    assert!(w.write("c", &[0; 4]).is_err(), "out of order");
    assert!(w.write("b", &[1]).is_err(), "too short");
    w.write("b", &[1, 2, 3]).unwrap();
    w.write("a", &[]).unwrap();
    let unfinished = FileWriter::create(dir.path().join("y"), specs(), &Default::default()).unwrap();
    assert!(unfinished.finish().is_err());
    w.write("c", &[4, 5, 6, 7]).unwrap();
    assert!(w.write("d", &[]).is_err());
    w.finish().unwrap();
    assert_eq!(count(), 1);
    let index = ready(Index::read(&FileSource::open(&path).unwrap(), "x")).unwrap();
    assert_eq!(index.tensors.keys().collect::<Vec<_>>(), ["b", "a", "c"]);
    assert_eq!(&std::fs::read(&path).unwrap()[index.tensors["c"].range.start as usize..], &[4, 5, 6, 7]);
    assert_eq!(index.tensors["b"].range.start % 8, 0, "the data section is aligned");
}

#[test]
fn what_cannot_be_written_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let error = |path: std::path::PathBuf, specs| FileWriter::create(path, specs, &Default::default()).err().unwrap();
    let e = error(dir.path().join("no/folder/x.safetensors"), specs());
    assert!(e.is_user_fault() && e.to_string().contains("its folder does not exist"), "{e}");
    let twice = vec![specs()[0].clone(), specs()[0].clone()];
    assert!(error(dir.path().join("x"), twice).to_string().contains("written twice"));
    let huge = vec![TensorSpec { name: "h".into(), dtype: DType::F64, shape: vec![usize::MAX, 2] }];
    assert!(error(dir.path().join("x"), huge).to_string().contains("too large"));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

/// The last bytes go out when the file is finished; a full disk shows only then.
#[test]
#[cfg(target_os = "linux")]
fn nothing_stays_when_the_last_write_fails() {
    let dir = tempfile::tempdir().unwrap();
    let temporary = dir.path().join(format!(".x.safetensors.{}.part", std::process::id()));
    std::os::unix::fs::symlink("/dev/full", &temporary).unwrap();
    let mut w = FileWriter::create(dir.path().join("x.safetensors"), specs(), &Default::default()).unwrap();
    for (name, bytes) in [("b", &[1u8, 2, 3][..]), ("a", &[]), ("c", &[4, 5, 6, 7])] {
        w.write(name, bytes).unwrap();
    }
    let e = w.finish().unwrap_err().to_string();
    assert!(e.contains("cannot write"), "{e}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}
