//! Five thousand cards that nobody asked for, as untidy as real ones: file names for titles, no descriptions, tag soup, other
//! languages, wrong families, boasts. Made by a seeded generator, so that the figures repeat.

use admix_select::refine::{Facts, refine};
use admix_select::{Entry, Kind};

/// SplitMix64 (Steele, Lea and Flood 2014).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    pub fn of<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[self.below(list.len())]
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

const FIRST: &[&str] = &[
    "Kaori",
    "Elena",
    "Morgrim",
    "Seraphine",
    "Yuki",
    "Tobias",
    "Ayla",
    "Drax",
    "Mirelle",
    "Hoshino",
    "Ivana",
    "Lucien",
    "Nadia",
    "Rin",
    "Zephyr",
    "Brunhild",
];
const LAST: &[&str] = &[
    "Valmont",
    "Okami",
    "Stormcaller",
    "Hart",
    "Belmonte",
    "Nightingale",
    "Tsukishima",
    "Ravencroft",
    "Duval",
    "Karlsson",
    "Amagiri",
    "von Licht",
];
const SHOWS: &[&str] = &[
    "Chronicles of Aster",
    "Blade Horizon",
    "Idol Parade",
    "Moonfall Academy",
    "Iron Requiem",
    "Starlight Express 9",
    "Neon Samurai Zero",
    "Robot Maid Café",
];
const CLOTHES: &[&str] = &[
    "sailor uniform",
    "leather jacket",
    "wedding dress",
    "school swimsuit",
    "cheongsam",
    "biker gloves",
    "maid apron",
    "plate armor",
    "hoodie",
    "cowboy boots",
    "lace stockings",
    "kimono",
];
const THINGS: &[&str] = &[
    "Porsche 911",
    "AK-47",
    "katana",
    "Gothic cathedral",
    "cottagecore bedroom",
    "spiral staircase",
    "fishnet",
    "tentacles",
    "hamster wheel",
    "submarine",
    "brutalist tower",
    "steam locomotive",
    "hot tub",
    "ramen shop",
    "throne room",
    "Shiba Inu",
    "axolotl",
    "koi pond",
    "cherry blossom avenue",
    "subway train",
];
const STYLES: &[&str] = &[
    "ukiyo-e",
    "art nouveau",
    "risograph",
    "vintage comic",
    "visual novel",
    "dark fantasy",
    "brutalism render",
    "ghibli background",
    "children's book",
    "kirigami",
    "chalkboard",
    "soviet poster",
    "baroque",
    "tarot card",
    "mosaic tile",
    "papercut",
    "film noir",
    "lofi",
    "graffiti",
    "needle felt",
];
const POSES: &[&str] = &[
    "looking back",
    "crossed arms",
    "jack-o pose",
    "squatting",
    "peace sign",
    "hugging own legs",
    "handstand",
    "lying on stomach",
];
/// What the prompts ask for, but for another class of models: the filter has to see it.
const WANTED: &[&str] = &[
    "Watercolor",
    "Neon glow",
    "Pixel art XL",
    "Line art",
    "Blueprint",
    "Pencil sketch",
    "Unicorn",
    "Robot",
    "Night city",
    "Moai",
    "Jack-o-lantern",
    "Red apple",
    "Cat face",
    "Castle",
    "Rocket",
    "Horse",
];
const SOUP: &[&str] = &[
    "1girl",
    "solo",
    "looking at viewer",
    "long hair",
    "smile",
    "blush",
    "open mouth",
    "short hair",
    "blue eyes",
    "breasts",
    "simple background",
    "white background",
    "shirt",
    "skirt",
    "gloves",
    "hat",
    "night",
    "sky",
    "star (sky)",
    "outdoors",
    "city",
    "glowing",
    "monochrome",
    "greyscale",
    "sketch",
    "traditional media",
    "robot",
    "weapon",
    "animal ears",
    "horns",
    "jewelry",
    "flower",
    "standing",
    "sitting",
    "from behind",
    "cowboy shot",
    "upper body",
    "moon",
    "pumpkin",
    "halloween",
    "pencil",
    "book",
    "cat",
    "apple",
    "horse",
];
const OTHER: &[&str] = &[
    "水彩画风格 国风",
    "ロボット娘 アニメ",
    "夜景 都市",
    "персонаж из игры",
    "стиль карандаш",
    "personaje de anime",
    "fond de nuit étoilée",
    "gezeichneter Held",
    "미소녀 캐릭터",
    "像素 风格 少女",
];
const BOASTS: &[&str] = &[
    "BEST LORA EVER!!! please like and review <3",
    "Updated: fixed hands. Use with any checkpoint. weight 0.6-0.8",
    "early access on my page",
    "trained on 40 images, 10 epochs, dim 32",
    "Please read before downloading. No commercial use.",
    "requested by a friend",
    "works best with hires fix",
];

/// `count` entries for models of class `sd1` with a text embedding of `context`.
pub fn distractors(count: usize, seed: u64, context: usize) -> Vec<Entry> {
    let mut r = Random(seed);
    (0..count).map(|i| one(&mut r, i, context)).collect()
}

fn one(r: &mut Random, i: usize, context: usize) -> Entry {
    let sort = r.below(100);
    let foreign = sort >= 88;
    let (subject, label) = match sort {
        0..30 => (format!("{} {}", r.of(FIRST), r.of(LAST)), "character"),
        30..38 => (format!("{} ({})", r.of(FIRST), r.of(SHOWS)), "character"),
        38..50 => (r.of(CLOTHES).to_owned(), "clothing"),
        50..62 => (r.of(THINGS).to_owned(), "concept"),
        62..74 => (format!("{} style", r.of(STYLES)), "style"),
        74..79 => (r.of(POSES).to_owned(), "poses"),
        79..82 => (format!("{} slider", r.of(&["age", "muscle", "contrast", "detail", "smile"])), "tool"),
        82..85 => (
            r.of(&["LCM", "detail tweaker", "better hands", "Hyper 8 steps", "negative quality fix"]).to_owned(),
            "tool",
        ),
        85..88 => (r.of(OTHER).to_owned(), "concept"),
        _ => (r.of(WANTED).to_owned(), "style"),
    };
    let mut facts = Facts { stem: file_name(r, &subject, i), ..Facts::default() };
    // Half of all files say nothing but their name.
    if r.chance(55) {
        facts.title = Some(if r.chance(30) { subject.to_uppercase() } else { subject.clone() });
    }
    if r.chance(40) {
        let boast = r.of(BOASTS);
        facts.description = Some(if r.chance(50) { format!("<p>{subject}.</p> {boast}") } else { boast.to_owned() });
    }
    if r.chance(50) {
        facts.triggers = vec![subject.to_lowercase().replace(' ', if r.chance(50) { "_" } else { " " })];
    }
    if r.chance(60) {
        facts.labels = vec![label.to_owned()];
        if r.chance(50) {
            facts.labels.extend((0..r.below(6)).map(|_| r.of(SOUP).to_owned()));
        }
    }
    if r.chance(70) {
        let mut left = 40 + r.below(100) as u64;
        for _ in 0..3 + r.below(20) {
            let tag = r.of(SOUP).to_owned();
            if !facts.captions.iter().any(|(t, _)| *t == tag) {
                facts.captions.push((tag, left));
                left = left * (50 + r.below(50) as u64) / 100;
            }
        }
    }
    if foreign {
        // Half state their class, the rest shows it by its tensors alone.
        facts.family = Some(r.of(&["sdxl", "sd2", "sd1"]).to_owned());
        facts.context = Some(match facts.family.as_deref() {
            Some("sdxl") => 2048,
            Some("sd2") => 1024,
            _ => 768,
        });
    } else {
        facts.family = r.chance(80).then(|| "sd1".to_owned());
        facts.context = r.chance(80).then_some(context);
    }
    let mut found = refine(&facts);
    if label == "character" && found.kind == Kind::Subject && facts.labels.is_empty() && !facts.captions.is_empty() {
        // What a person could see in the captions is not always there to be seen.
        found.kind = if r.chance(50) { Kind::Character } else { Kind::Subject };
    }
    Entry {
        name: facts.stem.clone(),
        reference: format!("library/{}.safetensors", facts.stem),
        key: Some(format!("{i:064x}")),
        found,
        ..Entry::default()
    }
}

fn file_name(r: &mut Random, subject: &str, i: usize) -> String {
    let base: String = subject.chars().filter(|c| c.is_alphanumeric() || *c == ' ').collect();
    let joined = match r.below(4) {
        0 => base.replace(' ', "_"),
        1 => base.replace(' ', "-").to_lowercase(),
        2 => base.split(' ').map(|w| w.chars().take(3).collect::<String>()).collect(),
        _ => base.replace(' ', ""),
    };
    let tail = r.of(&["", "_v2", "_v1.5", "-000008", "_lora", "_sd15_final", "-10"]);
    format!("{joined}{tail}_{i}")
}
