//! What does not act: food, vehicles, tools, things, plants, buildings, the sky, and what is worn.

use super::{
    Biome::{self, Country, Desert, Forest, Indoors, Mountain, Sea, Shore, Sky, Snow, Space, Town},
    Category, Noun,
    Size::{self, Large, Medium, Small},
    WornOn::{self, Back, Body, Face, Head, Limbs, Neck},
};

const LAND: &[Biome] = &[Country, Forest, Mountain];

const fn food(names: [&'static str; 5]) -> Noun {
    Noun::new(Category::Food, names, Small, &[Indoors, Country, Town])
}

const fn vehicle(names: [&'static str; 5], biomes: &'static [Biome]) -> Noun {
    Noun::new(Category::Vehicle, names, Large, biomes)
}

const fn tool(names: [&'static str; 5]) -> Noun {
    Noun::new(Category::Tool, names, Small, &[Indoors, Country])
}

const fn thing(names: [&'static str; 5], size: Size, biomes: &'static [Biome]) -> Noun {
    Noun::new(Category::Thing, names, size, biomes)
}

const fn plant(names: [&'static str; 5], size: Size, biomes: &'static [Biome]) -> Noun {
    Noun::new(Category::Plant, names, size, biomes)
}

const fn building(names: [&'static str; 5], biomes: &'static [Biome]) -> Noun {
    Noun::new(Category::Building, names, Large, biomes)
}

const fn sky(names: [&'static str; 5], biomes: &'static [Biome]) -> Noun {
    Noun::new(Category::Sky, names, Medium, biomes)
}

const fn worn(names: [&'static str; 5], worn_on: WornOn) -> Noun {
    let mut noun = Noun::new(Category::Worn, names, Small, &[Indoors, Town]);
    noun.worn_on = Some(worn_on);
    noun
}

/// What is eaten.
#[rustfmt::skip]
pub static FOODS: &[Noun] = &[
    food(["🍎", "apple", "apples", "苹果", "个"]),
    food(["🍐", "pear", "pears", "梨", "个"]),
    food(["🍊", "orange", "oranges", "橙子", "个"]),
    food(["🍋", "lemon", "lemons", "柠檬", "个"]),
    food(["🍌", "banana", "bananas", "香蕉", "根"]),
    food(["🍉", "watermelon", "watermelons", "西瓜", "个"]),
    food(["🍈", "melon", "melons", "甜瓜", "个"]),
    food(["🍓", "strawberry", "strawberries", "草莓", "颗"]),
    food(["🫐", "blueberry", "blueberries", "蓝莓", "颗"]),
    food(["🍒", "cherry", "cherries", "樱桃", "颗"]),
    food(["🍑", "peach", "peaches", "桃子", "个"]),
    food(["🥭", "mango", "mangoes", "芒果", "个"]),
    food(["🍍", "pineapple", "pineapples", "菠萝", "个"]),
    food(["🥥", "coconut", "coconuts", "椰子", "个"]),
    food(["🥝", "kiwi", "kiwis", "猕猴桃", "个"]),
    food(["🍅", "tomato", "tomatoes", "西红柿", "个"]),
    food(["🥑", "avocado", "avocados", "牛油果", "个"]),
    food(["🥕", "carrot", "carrots", "胡萝卜", "根"]),
    food(["🌶️", "pepper", "peppers", "辣椒", "根"]),
    food(["🥒", "cucumber", "cucumbers", "黄瓜", "根"]),
    food(["🥔", "potato", "potatoes", "土豆", "个"]),
    food(["🧅", "onion", "onions", "洋葱", "个"]),
    food(["🥜", "peanut", "peanuts", "花生", "颗"]),
    food(["🌰", "chestnut", "chestnuts", "栗子", "颗"]),
    food(["🍄", "mushroom", "mushrooms", "蘑菇", "个"]),
    food(["🥚", "egg", "eggs", "鸡蛋", "个"]),
    food(["🥐", "croissant", "croissants", "羊角面包", "个"]),
    food(["🥨", "pretzel", "pretzels", "椒盐卷饼", "个"]),
    food(["🥯", "bagel", "bagels", "百吉饼", "个"]),
    food(["🥞", "pancake", "pancakes", "煎饼", "张"]),
    food(["🧇", "waffle", "waffles", "华夫饼", "块"]),
    food(["🍞", "loaf", "loaves", "面包", "个"]),
    food(["🥪", "sandwich", "sandwiches", "三明治", "个"]),
    food(["🍔", "hamburger", "hamburgers", "汉堡包", "个"]),
    food(["🍕", "pizza", "pizzas", "比萨饼", "块"]),
    food(["🌮", "taco", "tacos", "玉米卷", "个"]),
    food(["🥟", "dumpling", "dumplings", "饺子", "个"]),
    food(["🥮", "mooncake", "mooncakes", "月饼", "块"]),
    food(["🍪", "biscuit", "biscuits", "饼干", "块"]),
    food(["🍰", "cake", "cakes", "蛋糕", "块"]),
    food(["🧁", "cupcake", "cupcakes", "纸杯蛋糕", "个"]),
    food(["🥧", "pie", "pies", "馅饼", "个"]),
    food(["🍩", "doughnut", "doughnuts", "甜甜圈", "个"]),
    food(["🍬", "sweet", "sweets", "糖果", "颗"]),
    food(["🍭", "lollipop", "lollipops", "棒棒糖", "根"]),
    food(["🍦", "ice cream", "ice creams", "冰淇淋", "个"]),
];

/// What carries passengers.
#[rustfmt::skip]
pub static VEHICLES: &[Noun] = &[
    vehicle(["🚗", "car", "cars", "汽车", "辆"], &[Town, Country]).paintable(),
    vehicle(["🚕", "taxi", "taxis", "出租车", "辆"], &[Town]),
    vehicle(["🚌", "bus", "buses", "公共汽车", "辆"], &[Town]).paintable(),
    vehicle(["🚓", "police car", "police cars", "警车", "辆"], &[Town]),
    vehicle(["🚒", "fire engine", "fire engines", "消防车", "辆"], &[Town]),
    vehicle(["🚑", "ambulance", "ambulances", "救护车", "辆"], &[Town]),
    vehicle(["🚚", "truck", "trucks", "卡车", "辆"], &[Town, Country]).paintable(),
    vehicle(["🚜", "tractor", "tractors", "拖拉机", "辆"], &[Country]).paintable(),
    vehicle(["🚲", "bicycle", "bicycles", "自行车", "辆"], &[Town, Country]).paintable(),
    vehicle(["🏍️", "motorbike", "motorbikes", "摩托车", "辆"], &[Town, Desert]).paintable(),
    vehicle(["🛵", "scooter", "scooters", "小摩托", "辆"], &[Town]).paintable(),
    vehicle(["🚂", "train", "trains", "火车", "列"], &[Town, Country]),
    vehicle(["🚋", "tram", "trams", "电车", "辆"], &[Town]),
    vehicle(["🛷", "sledge", "sledges", "雪橇", "个"], &[Snow, Mountain]).paintable(),
    vehicle(["⛵", "sailing boat", "sailing boats", "帆船", "艘"], &[Shore]).paintable(),
    vehicle(["🚤", "speedboat", "speedboats", "快艇", "艘"], &[Shore]).paintable(),
    vehicle(["🛶", "canoe", "canoes", "独木舟", "条"], &[Shore]).paintable(),
    vehicle(["🚢", "ship", "ships", "轮船", "艘"], &[Shore]),
    vehicle(["⛴️", "ferry", "ferries", "渡轮", "艘"], &[Shore]),
    vehicle(["✈️", "plane", "planes", "飞机", "架"], &[Sky]).paintable(),
    vehicle(["🚁", "helicopter", "helicopters", "直升机", "架"], &[Sky]).paintable(),
    vehicle(["🚀", "rocket", "rockets", "火箭", "枚"], &[Space, Sky]).paintable().landmark(),
    vehicle(["🛸", "flying saucer", "flying saucers", "飞碟", "个"], &[Space, Sky]).landmark(),
    vehicle(["🚠", "cable car", "cable cars", "缆车", "辆"], &[Mountain]),
];

/// What work is done with.
#[rustfmt::skip]
pub static TOOLS: &[Noun] = &[
    tool(["🔨", "hammer", "hammers", "锤子", "把"]),
    tool(["🪛", "screwdriver", "screwdrivers", "螺丝刀", "把"]),
    tool(["🔧", "wrench", "wrenches", "扳手", "把"]),
    tool(["🪚", "saw", "saws", "锯子", "把"]),
    tool(["🪓", "axe", "axes", "斧头", "把"]),
    tool(["⛏️", "pickaxe", "pickaxes", "镐", "把"]),
    tool(["🪜", "ladder", "ladders", "梯子", "个"]),
    tool(["🧹", "broom", "brooms", "扫帚", "把"]),
    tool(["🪣", "bucket", "buckets", "水桶", "个"]).paintable(),
    tool(["🧺", "basket", "baskets", "篮子", "个"]),
    tool(["🧲", "magnet", "magnets", "磁铁", "块"]),
    tool(["🔦", "torch", "torches", "手电筒", "个"]),
    tool(["🖌️", "paintbrush", "paintbrushes", "画笔", "支"]),
    tool(["🔭", "telescope", "telescopes", "望远镜", "架"]),
    tool(["🔬", "microscope", "microscopes", "显微镜", "台"]),
    tool(["🔍", "magnifying glass", "magnifying glasses", "放大镜", "个"]),
    tool(["🧭", "compass", "compasses", "指南针", "个"]),
    tool(["🔑", "key", "keys", "钥匙", "把"]),
    tool(["🪝", "hook", "hooks", "钩子", "个"]),
    tool(["🎣", "fishing rod", "fishing rods", "钓竿", "根"]),
    tool(["🔋", "battery", "batteries", "电池", "节"]),
    tool(["💡", "light bulb", "light bulbs", "灯泡", "个"]),
    tool(["🕯️", "candle", "candles", "蜡烛", "根"]),
    tool(["🪡", "needle", "needles", "针", "根"]),
    tool(["🥄", "spoon", "spoons", "勺子", "把"]),
    tool(["⚓", "anchor", "anchors", "锚", "个"]),
    tool(["⚙️", "gear", "gears", "齿轮", "个"]),
];

/// Toys, instruments and what stands in a house.
#[rustfmt::skip]
pub static THINGS: &[Noun] = &[
    thing(["🎈", "balloon", "balloons", "气球", "个"], Small, &[Town, Sky]).paintable(),
    thing(["⚽", "ball", "balls", "球", "个"], Small, &[Town, Country]).paintable(),
    thing(["🪁", "kite", "kites", "风筝", "只"], Small, &[Sky, Country, Shore]).paintable(),
    thing(["🪀", "yo-yo", "yo-yos", "溜溜球", "个"], Small, &[Indoors]).paintable(),
    thing(["🪆", "doll", "dolls", "娃娃", "个"], Small, &[Indoors]).paintable(),
    thing(["🎁", "present", "presents", "礼物", "份"], Small, &[Indoors]).paintable(),
    thing(["📦", "box", "boxes", "盒子", "个"], Small, &[Indoors]).paintable(),
    thing(["📕", "book", "books", "书", "本"], Small, &[Indoors]).paintable(),
    thing(["☂️", "umbrella", "umbrellas", "雨伞", "把"], Small, &[Town, Shore]).paintable(),
    thing(["🔔", "bell", "bells", "铃铛", "个"], Small, &[Indoors]).paintable(),
    thing(["🥁", "drum", "drums", "鼓", "面"], Small, &[Indoors, Town]).paintable(),
    thing(["🎸", "guitar", "guitars", "吉他", "把"], Small, &[Indoors, Town]).paintable(),
    thing(["🎻", "violin", "violins", "小提琴", "把"], Small, &[Indoors]).paintable(),
    thing(["🎺", "trumpet", "trumpets", "小号", "支"], Small, &[Indoors, Town]).paintable(),
    thing(["⏰", "clock", "clocks", "闹钟", "个"], Small, &[Indoors]).paintable(),
    thing(["📷", "camera", "cameras", "照相机", "台"], Small, &[Indoors, Town]).paintable(),
    thing(["🏮", "lantern", "lanterns", "灯笼", "盏"], Small, &[Town, Indoors]).paintable(),
    thing(["🚩", "flag", "flags", "旗子", "面"], Small, &[Town, Mountain]).paintable(),
    thing(["🐚", "shell", "shells", "贝壳", "个"], Small, &[Shore, Sea]).paintable(),
    thing(["🪶", "feather", "feathers", "羽毛", "根"], Small, &[Forest, Country]).paintable(),
    thing(["💎", "gem", "gems", "宝石", "颗"], Small, &[Mountain]).paintable(),
    thing(["🫖", "teapot", "teapots", "茶壶", "个"], Small, &[Indoors]).paintable(),
    thing(["☕", "cup", "cups", "杯子", "个"], Small, &[Indoors]).paintable(),
    thing(["🏺", "vase", "vases", "花瓶", "个"], Small, &[Indoors]).paintable(),
    thing(["🖍️", "crayon", "crayons", "蜡笔", "支"], Small, &[Indoors]).paintable(),
    thing(["✏️", "pencil", "pencils", "铅笔", "支"], Small, &[Indoors]).paintable(),
    thing(["👜", "bag", "bags", "包", "个"], Small, &[Indoors, Town]).paintable(),
    thing(["🛹", "skateboard", "skateboards", "滑板", "块"], Small, &[Town]).paintable(),
    thing(["🪃", "boomerang", "boomerangs", "回旋镖", "个"], Small, &[Country, Desert]).paintable(),
    thing(["🧶", "ball of wool", "balls of wool", "毛线球", "个"], Small, &[Indoors]).paintable(),
    thing(["🪄", "magic wand", "magic wands", "魔杖", "根"], Small, &[Indoors]),
    thing(["🔮", "crystal ball", "crystal balls", "水晶球", "个"], Small, &[Indoors]),
    thing(["🗺️", "map", "maps", "地图", "张"], Small, &[Indoors]),
    thing(["✉️", "letter", "letters", "信", "封"], Small, &[Indoors]),
    thing(["🪙", "coin", "coins", "硬币", "枚"], Small, &[Town]),
    thing(["🏆", "trophy", "trophies", "奖杯", "个"], Small, &[Indoors]),
    thing(["🧩", "puzzle", "puzzles", "拼图", "块"], Small, &[Indoors]),
    thing(["🧊", "ice cube", "ice cubes", "冰块", "块"], Small, &[Snow, Indoors]),
    thing(["☎️", "telephone", "telephones", "电话", "部"], Small, &[Indoors]),
    thing(["💻", "computer", "computers", "电脑", "台"], Small, &[Indoors]),
    thing(["📺", "television", "televisions", "电视机", "台"], Medium, &[Indoors]).landmark(),
    thing(["🎹", "piano", "pianos", "钢琴", "架"], Medium, &[Indoors]).landmark(),
    thing(["🪗", "accordion", "accordions", "手风琴", "台"], Small, &[Indoors, Town]),
    thing(["🪑", "chair", "chairs", "椅子", "把"], Medium, &[Indoors]).paintable().landmark(),
    thing(["🛋️", "sofa", "sofas", "沙发", "张"], Large, &[Indoors]).landmark(),
    thing(["🚪", "door", "doors", "门", "扇"], Large, &[Indoors]).landmark(),
    thing(["🪞", "mirror", "mirrors", "镜子", "面"], Medium, &[Indoors]).landmark(),
    thing(["🛢️", "barrel", "barrels", "桶", "个"], Medium, &[Shore, Indoors, Country]).landmark(),
    thing(["🪵", "log", "logs", "木头", "根"], Medium, &[Forest, Shore]).landmark(),
    thing(["🪨", "rock", "rocks", "石头", "块"], Medium,
        &[Country, Forest, Desert, Mountain, Snow, Shore, Sea, Space]).landmark(),
];

/// Trees and flowers.
#[rustfmt::skip]
pub static PLANTS: &[Noun] = &[
    plant(["🌲", "pine tree", "pine trees", "松树", "棵"], Large, &[Forest, Mountain, Snow]).landmark(),
    plant(["🌳", "oak tree", "oak trees", "橡树", "棵"], Large, &[Forest, Country, Town]).landmark(),
    plant(["🌴", "palm tree", "palm trees", "棕榈树", "棵"], Large, &[Shore, Desert]).landmark(),
    plant(["🌵", "cactus", "cactuses", "仙人掌", "棵"], Medium, &[Desert]).landmark(),
    plant(["🪴", "potted plant", "potted plants", "盆栽", "盆"], Small, &[Indoors]).landmark(),
    plant(["🌷", "tulip", "tulips", "郁金香", "朵"], Small, &[Country]).paintable(),
    plant(["🌹", "rose", "roses", "玫瑰", "朵"], Small, &[Country]).paintable(),
    plant(["🌼", "daisy", "daisies", "雏菊", "朵"], Small, LAND).paintable(),
    plant(["🪻", "hyacinth", "hyacinths", "风信子", "朵"], Small, &[Country]).paintable(),
    plant(["🪷", "lotus", "lotuses", "荷花", "朵"], Small, &[Shore]).paintable(),
    plant(["🌻", "sunflower", "sunflowers", "向日葵", "朵"], Medium, &[Country]),
    plant(["🌸", "blossom", "blossoms", "樱花", "朵"], Small, &[Country]),
    plant(["🍀", "clover", "clovers", "四叶草", "棵"], Small, LAND),
    plant(["🍁", "maple leaf", "maple leaves", "枫叶", "片"], Small, &[Forest]),
    plant(["🎃", "pumpkin", "pumpkins", "南瓜", "个"], Medium, &[Country]),
    plant(["🎄", "fir tree", "fir trees", "圣诞树", "棵"], Large, &[Snow, Indoors]),
    plant(["🪹", "nest", "nests", "鸟巢", "个"], Small, &[Forest]),
    plant(["🌱", "sprout", "sprouts", "嫩芽", "棵"], Small, &[Country]),
];

/// What is built and stays in its place.
#[rustfmt::skip]
pub static BUILDINGS: &[Noun] = &[
    building(["🏠", "house", "houses", "房子", "座"], &[Town, Country]).paintable().landmark(),
    building(["🛖", "hut", "huts", "小屋", "间"], &[Forest, Snow, Mountain, Shore, Country]).landmark(),
    building(["⛺", "tent", "tents", "帐篷", "顶"], &[Country, Desert, Snow, Mountain, Space]).paintable().landmark(),
    building(["🗼", "tower", "towers", "铁塔", "座"], &[Town]).landmark(),
    building(["⛲", "fountain", "fountains", "喷泉", "座"], &[Town]).landmark(),
    building(["🏪", "shop", "shops", "商店", "家"], &[Town]).landmark(),
    building(["🏥", "hospital", "hospitals", "医院", "家"], &[Town]),
    building(["🏭", "factory", "factories", "工厂", "家"], &[Town]),
    building(["🎡", "big wheel", "big wheels", "摩天轮", "座"], &[Town]),
    building(["🎢", "roller coaster", "roller coasters", "过山车", "座"], &[Town]),
    building(["🎠", "merry-go-round", "merry-go-rounds", "旋转木马", "座"], &[Town]),
    building(["🛝", "slide", "slides", "滑梯", "座"], &[Town]),
    building(["🗿", "statue", "statues", "石像", "座"], &[Town, Desert, Shore, Mountain]).landmark(),
    building(["⛩️", "gate", "gates", "牌坊", "座"], &[Town, Mountain]),
    building(["🕌", "dome", "domes", "圆顶屋", "座"], &[Desert, Town]),
];

/// What is seen above.
#[rustfmt::skip]
pub static SKY: &[Noun] = &[
    sky(["☀️", "sun", "suns", "太阳", "个"], &[Sky]),
    sky(["⭐", "star", "stars", "星星", "颗"], &[Sky, Space]).paintable(),
    sky(["☁️", "cloud", "clouds", "云", "朵"], &[Sky]),
    sky(["🌈", "rainbow", "rainbows", "彩虹", "道"], &[Sky]),
    sky(["⚡", "lightning bolt", "lightning bolts", "闪电", "道"], &[Sky]),
    sky(["❄️", "snowflake", "snowflakes", "雪花", "片"], &[Sky, Snow]),
    sky(["☄️", "comet", "comets", "彗星", "颗"], &[Sky, Space]),
    sky(["🪐", "planet", "planets", "行星", "颗"], &[Sky, Space]),
    sky(["🛰️", "satellite", "satellites", "卫星", "颗"], &[Sky, Space]),
];

/// What is put over a creature.
#[rustfmt::skip]
pub static WORN: &[Noun] = &[
    worn(["🧑‍🚀", "spacesuit", "spacesuits", "宇航服", "件"], Body),
    worn(["👑", "crown", "crowns", "王冠", "顶"], Head),
    worn(["🎩", "top hat", "top hats", "高礼帽", "顶"], Head),
    worn(["👒", "straw hat", "straw hats", "草帽", "顶"], Head).paintable(),
    worn(["🧢", "cap", "caps", "鸭舌帽", "顶"], Head).paintable(),
    worn(["⛑️", "helmet", "helmets", "头盔", "顶"], Head).paintable(),
    worn(["🎀", "ribbon", "ribbons", "蝴蝶结", "个"], Head).paintable(),
    worn(["🎧", "headphones", "headphones", "耳机", "副"], Head).paintable().pair(),
    worn(["👓", "glasses", "glasses", "眼镜", "副"], Face).pair(),
    worn(["🕶️", "sunglasses", "sunglasses", "墨镜", "副"], Face).pair(),
    worn(["🥽", "goggles", "goggles", "护目镜", "副"], Face).paintable().pair(),
    worn(["🧣", "scarf", "scarves", "围巾", "条"], Neck).paintable(),
    worn(["🥇", "medal", "medals", "奖牌", "枚"], Neck),
    worn(["📿", "necklace", "necklaces", "项链", "条"], Neck).paintable(),
    worn(["🧥", "coat", "coats", "大衣", "件"], Body).paintable(),
    worn(["👗", "dress", "dresses", "连衣裙", "件"], Body).paintable(),
    worn(["👕", "shirt", "shirts", "衬衫", "件"], Body).paintable(),
    worn(["👘", "kimono", "kimonos", "和服", "件"], Body).paintable(),
    worn(["🥼", "lab coat", "lab coats", "白大褂", "件"], Body),
    worn(["🦺", "safety vest", "safety vests", "反光背心", "件"], Body),
    worn(["🎒", "backpack", "backpacks", "背包", "个"], Back).paintable(),
    worn(["🥾", "boots", "boots", "靴子", "双"], Limbs).paintable().pair(),
    worn(["🧤", "gloves", "gloves", "手套", "双"], Limbs).paintable().pair(),
];
