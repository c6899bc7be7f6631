//! `rillm flash-image`.

use std::fs;

use rillm_flash_image::FlashImage;

use crate::support::{Models, error, path, rillm, stdout};

/// An image with a model of 4,608 bytes in 1 MiB of flash.
const IMAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../rillm-flash-image/tests/esp32-c3.bin");

#[test]
fn a_model_takes_the_place_of_the_images_own() {
    let models = Models::converted();
    let (model, out) = (models.file(), models.at("board.bin"));
    let command = || rillm(&["flash-image", path(&model), "--image", IMAGE, "-o", path(&out)]);
    let text = stdout(&mut command());
    for words in ["board.bin", "ESP32-C3", "has room for", "espflash write-bin 0x0"] {
        assert!(text.contains(words), "{words} in {text}");
    }
    let made = fs::read(&out).expect("an image");
    let image = FlashImage::parse(&made).expect("an image");
    assert!(image.model() == fs::read(&model).expect("a model"));
    // The same inputs give the same bytes, and an image that has been made is an image.
    stdout(&mut rillm(&["flash-image", path(&model), "--image", path(&out), "-o", path(&models.at("again.bin"))]));
    assert!(fs::read(models.at("again.bin")).expect("an image") == made);
}

#[test]
fn what_does_not_fit_or_is_none_is_refused_and_nothing_is_written() {
    let models = Models::converted();
    let (model, out) = (models.file(), models.at("board.bin"));
    let refused = |model: &str, image: &str, out: &str| {
        error(&mut rillm(&["flash-image", model, "--image", image, "-o", out]), 1)
    };
    let bundled = concat!(env!("CARGO_MANIFEST_DIR"), "/model.rillm");
    let message = refused(bundled, IMAGE, path(&out));
    assert!(message.contains("1809920 bytes") && message.contains("has room for"), "{message}");
    let cut = models.at("cut.bin");
    fs::write(&cut, &fs::read(IMAGE).expect("an image")[..100_000]).expect("a file");
    assert!(refused(path(&model), path(&cut), path(&out)).contains("damaged"));
    assert!(refused(path(&model), path(&model), path(&out)).contains("no partition table"));
    assert!(refused(IMAGE, IMAGE, path(&out)).contains("no model file"));
    assert!(!out.exists());
    for input in [&model, &cut] {
        assert!(refused(path(&model), path(&cut), path(input)).contains("would be lost"));
    }
}
