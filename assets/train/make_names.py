"""Choose the names that the built-in model draws; writes assets/models/mini/names.txt.

python make_names.py --data out/train/data
"""
import argparse
from pathlib import Path

import common

WHOLE = ("animal-mammal", "animal-bird", "animal-amphibian", "animal-reptile", "animal-marine", "animal-bug", "plant-flower",
         "plant-other", "food-fruit", "food-vegetable", "food-prepared", "food-asian", "food-marine", "food-sweet", "drink",
         "transport-air", "transport-water", "musical-instrument")
LEAVE = set("""guide dog|service dog|black cat|ox|water buffalo|two-hump camel|ewe|front-facing baby chick|black bird|goose|wing|
hatching chick|paw prints|bird|rat|mouse|boar|donkey|pig nose|leopard|horse|cow|pig|rabbit|microbe|mosquito|fly|cricket|worm|
spider web|dodo|bison|badger|cockroach|unicorn|
white flower|rosette|wilted flower|blossom|hyacinth|lotus|leaf fluttering in wind|fallen leaf|empty nest|sheaf of rice|herb|
ginger root|peanuts|chestnut|olive|potato|sandwich|burrito|meat on bone|roasted sweet potato|dumpling|dango|green salad|bento box|spaghetti|seal|squid|oyster|feather|beetle|tropical drink|beaver|chipmunk|orangutan|mammoth|sloth|otter|skunk|eagle|dove|tangerine|canoe|leafy green|beans|salt|canned food|stuffed flatbread|falafel|tamale|flatbread|cut of meat|shallow pan of food|
pot of food|fondue|cooking|butter|rice cracker|oden|moon cake|takeout box|fish cake with swirl|curry rice|bowl with spoon|
clinking glasses|pouring liquid|beverage box|mate|ice|tumbler glass|sake|custard|teacup without handle|shortcake|
airplane departure|airplane arrival|seat|suspension railway|mountain cableway|aerial tramway|satellite|small airplane|
motor boat|ship|ferry|ring buoy|musical keyboard|long drum|banjo|flute|maracas|harp""".replace("\n", "").split("|"))
MORE = """grinning face|smiling face with heart-eyes|smiling face with sunglasses|face with tears of joy|winking face|star-struck|
face blowing a kiss|thinking face|sleeping face|crying face|loudly crying face|angry face|enraged face|hot face|cold face|
nauseated face|exploding head|cowboy hat face|partying face|nerd face|smiling face with halo|smiling face with horns|
face with monocle|zany face|flushed face|face screaming in fear|skull|pile of poo|clown face|ogre|ghost|alien|
alien monster|grinning cat|see-no-evil monkey|Santa Claus|
red heart|orange heart|yellow heart|green heart|blue heart|purple heart|broken heart|sparkling heart|collision|speech balloon|
eye|tooth|bone|ear|thumbs up|
bus|ambulance|fire engine|police car|taxi|automobile|sport utility vehicle|pickup truck|delivery truck|tractor|racing car|
motorcycle|motor scooter|bicycle|locomotive|tram|skateboard|roller skate|vertical traffic light|stop sign|fuel pump|wheel|
crescent moon|full moon|sun|sun with face|ringed planet|star|cloud|rainbow|umbrella with rain drops|snowflake|snowman|fire|
droplet|high voltage|tornado|water wave|comet|sun behind cloud|
Christmas tree|balloon|party popper|wrapped gift|trophy|soccer ball|baseball|basketball|volleyball|american football|tennis|
bowling|bullseye|kite|video game|game die|puzzle piece|mirror ball|artist palette|crystal ball|yarn|
glasses|sunglasses|necktie|t-shirt|jeans|scarf|dress|kimono|handbag|backpack|running shoe|
high-heeled shoe|crown|top hat|graduation cap|billed cap|lipstick|ring|gem stone|
bell|radio|mobile phone|telephone|laptop|television|camera|candle|light bulb|flashlight|red paper lantern|
open book|green book|books|newspaper|scroll|money bag|envelope|pencil|paintbrush|
scissors|key|locked|hammer|axe|dagger|bomb|shield|gear|magnet|microscope|telescope|
bed|chair|bathtub|shopping cart|hourglass done|
alarm clock|watch|house|hut|castle|tent|volcano|mountain|desert island|ferris wheel|fountain|
magic wand|""".replace("\n", "").split("|")
# too alike or too fine for a model of this size
DROP = set("""enraged face|flushed face|zany face|hot face|
monkey|dog|cat|tiger|ram|moose|turkey|chicken|lizard|sauropod|spouting whale|fish|bug|ant|bouquet|seedling|deciduous tree|four leaf clover|nest with eggs|garlic|pea pod|baguette bread|bagel|bacon|
cooked rice|fried shrimp|shaved ice|chocolate bar|clinking beer mugs|fuel pump|roller skate|hut|tram|sport utility vehicle|pickup truck|motor scooter|speedboat|parachute|hourglass done|sun behind cloud|water wave|party popper|american football|
yarn|mirror ball|kimono|scarf|billed cap|green book|scroll|microscope|gear|bathtub|shopping cart|accordion|paintbrush|sparkling heart|speech balloon|star-struck""".replace("\n", "").split("|"))
# left for subject adapters to teach
HELD_OUT = ("robot", "unicorn", "jack-o-lantern", "moai", "teddy bear")


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--data", default="out/train/data")
    ap.add_argument("--out", default=str(common.HERE.parent / "models" / "mini" / "names.txt"))
    a = ap.parse_args()
    have = common.load_index(a.data)
    known = {r["name"] for r in have}
    more = {m for m in MORE if m}
    for m in sorted((more | LEAVE | set(HELD_OUT)) - known):
        print("no such name:", m)
    names = [r["name"] for r in have if r["name"] not in HELD_OUT and r["name"] not in DROP
             and ((r["subgroup"] in WHOLE and r["name"] not in LEAVE) or r["name"] in more)]
    Path(a.out).parent.mkdir(parents=True, exist_ok=True)
    Path(a.out).write_text("\n".join(names) + "\n")
    print(len(names), "names")


if __name__ == "__main__":
    main()
