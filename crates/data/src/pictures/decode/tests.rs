//! Decoding against Pillow (`bench/fixtures/pictures.py`), and files that are no pictures.

use super::*;
use crate::pictures::testing::{array, fixture, folder};
use proptest::prelude::*;

/// JPEG and lossy WebP leave rounding to the decoder.
fn tolerance(name: &str) -> u8 {
    match name {
        _ if name.ends_with(".jpg") => 4,
        "lossy.webp" | "lossy_alpha.webp" => 4,
        _ => 0,
    }
}

#[test]
fn as_pillow() {
    let cases = fixture("decode.json");
    let cases = cases.as_object().unwrap();
    assert!(cases.len() > 25);
    for (name, case) in cases {
        let (shape, want) = array(case);
        let got = open(&folder().join(name)).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!([got.height(), got.width(), 3], shape[..], "{name}");
        let apart = got.data().iter().zip(&want).map(|(&a, &b)| a.abs_diff(b)).max().unwrap();
        assert!(apart <= tolerance(name), "{name}: {apart}");
    }
}

#[track_caller]
fn check_error(bytes: &[u8], want: &str) {
    let error = decode(bytes, "a/b.png").unwrap_err();
    assert!(error.to_string().starts_with("a/b.png: ") && error.to_string().contains(want), "{error}");
    assert!(error.hint().is_some());
}

#[test]
fn no_pictures() {
    check_error(b"", "empty file");
    check_error(b"hello, world", "it begins with 68 65 6c 6c 6f 2c 20 77, want PNG, JPEG, WebP or GIF");
    check_error(b"\xff\xd8\xff", "the JPEG picture is truncated or corrupted");
    check_error(b"GIF89a", "the GIF picture is truncated or corrupted");
    check_error(b"\x89PNG\r\n\x1a\n", "the PNG picture is truncated or corrupted");
    check_error(b"RIFF\0\0\0\0WEBP", "the WebP picture is truncated or corrupted");
    let error = open(Path::new("no/such.png")).unwrap_err();
    assert!(error.to_string().starts_with("no/such.png: cannot be read"), "{error}");
}

/// A PNG of a few bytes that would be 100 GB of pixels.
#[test]
fn bombs_are_refused_before_decoding() {
    let mut png = Picture::filled(1, 1, [0; 3]).to_png().unwrap();
    png[16..20].copy_from_slice(&200_000_u32.to_be_bytes());
    png[20..24].copy_from_slice(&200_000_u32.to_be_bytes());
    let mut crc = flate2::Crc::new();
    crc.update(&png[12..29]);
    png[29..33].copy_from_slice(&crc.sum().to_be_bytes());
    check_error(&png, "a picture of 200000 x 200000 pixels, want at most 178956970 pixels");

    let gif = [b"GIF89a".as_slice(), &[0xff; 4], &[0, 0, 0, b',', 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 2]].concat();
    check_error(&gif, "a picture of 65535 x 65535 pixels");

    let mut jpeg = fs::read(folder().join("rgb.jpg")).unwrap();
    let frame = jpeg.windows(2).position(|w| w == [0xff, 0xc0]).unwrap();
    jpeg[frame + 5..frame + 9].fill(0xff);
    check_error(&jpeg, "a picture of 65535 x 65535 pixels");
}

#[test]
fn truncated_files_are_errors() {
    for name in fixture("decode.json").as_object().unwrap().keys() {
        let bytes = fs::read(folder().join(name)).unwrap();
        // Frames after the first and what follows the pixels are not needed, but for PNG, whose checksum stands last.
        let needed = match Format::of(&bytes).unwrap() {
            Format::Png => bytes.len() - 5,
            _ => bytes.len() / 8,
        };
        for keep in (0..needed).step_by(7) {
            let error = decode(&bytes[..keep], name).err().unwrap_or_else(|| panic!("{name} of {keep} bytes"));
            assert!(error.to_string().starts_with(name), "{error}");
        }
    }
    // Half of the pixels are there.
    for name in ["rgb.jpg", "subsampled.jpg", "grey.jpg", "rgb.png", "palette.gif", "lossless.webp"] {
        let bytes = fs::read(folder().join(name)).unwrap();
        assert!(matches!(decode(&bytes[..bytes.len() * 9 / 10], name), Err(Error::Broken { .. })), "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the bytes are, there is a picture or an error that names the file.
    #[test]
    fn corrupted_files_do_no_harm(which: prop::sample::Index, places: Vec<(prop::sample::Index, u8)>) {
        let cases = fixture("decode.json");
        let names: Vec<&String> = cases.as_object().unwrap().keys().collect();
        let name = which.get(&names);
        let mut bytes = fs::read(folder().join(name)).unwrap();
        for (place, byte) in places.iter().take(8) {
            let place = place.index(bytes.len());
            bytes[place] = *byte;
        }
        match decode(&bytes, name) {
            Ok(picture) => prop_assert!(picture.width() * picture.height() > 0),
            Err(error) => prop_assert!(error.to_string().starts_with(name.as_str()), "{}", error),
        }
    }
}
