//! Texts for tokenizers.

/// Random strings for each tokenizer: 200, or what RILLM_STRINGS says. CI says 100,000.
pub fn strings() -> usize {
    std::env::var("RILLM_STRINGS").map_or(200, |count| count.parse().expect("RILLM_STRINGS is a number"))
}

/// English prose.
pub const ENGLISH: &str = "The library stood at the end of a narrow street, and nobody in town remembered who had built it. \
    Every morning at eight o'clock Mrs. Hargreaves unlocked the heavy door, hung up her coat and put the kettle on; \
    every evening at six she locked it again. In between, perhaps a dozen people came: students who needed somewhere \
    warm, an old man who read the newspapers from back to front, and once, in 1987, a film crew from Birmingham. \
    \"You can't run a library on twelve visitors a day,\" the council wrote. She answered that libraries, like \
    lighthouses, are not measured by the number of ships that call, and filed the letter under Fiction.\n\nWhen the \
    river rose that spring, the cellar flooded first. She carried what she could: the atlases, the parish records \
    (1642-1911), two hundred volumes of natural history. The rest floated.\n";

/// Other languages, scripts and signs.
pub const OTHER: &str = "Das Übermaß an Größe, naïve façade, Être où ça? Привет, как дела? 你好,世界。日本語のテキストです。\
    مرحبا بالعالم नमस्ते दुनिया สวัสดี 👩‍👩‍👧‍👦🏳️‍🌈 e\u{301}a\u{300}\u{323} ▁▁x fn main() { println!(\"{:?}\", 0x1F); }\t\t\r\n";
