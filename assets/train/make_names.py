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
ginger root|leafy green|beans|salt|canned food|stuffed flatbread|falafel|tamale|flatbread|cut of meat|shallow pan of food|
pot of food|fondue|cooking|butter|rice cracker|oden|moon cake|takeout box|fish cake with swirl|curry rice|bowl with spoon|
clinking glasses|pouring liquid|beverage box|mate|ice|tumbler glass|sake|custard|teacup without handle|shortcake|
airplane departure|airplane arrival|seat|suspension railway|mountain cableway|aerial tramway|satellite|small airplane|
motor boat|ship|ferry|ring buoy|musical keyboard|long drum|banjo|flute|maracas|harp""".replace("\n", "").split("|"))
MORE = """grinning face|smiling face with heart-eyes|smiling face with sunglasses|face with tears of joy|winking face|star-struck|
face blowing a kiss|thinking face|sleeping face|crying face|loudly crying face|angry face|enraged face|hot face|cold face|
nauseated face|exploding head|cowboy hat face|partying face|nerd face|smiling face with halo|smiling face with horns|
face with monocle|zany face|flushed face|face screaming in fear|skull|pile of poo|clown face|ogre|goblin|ghost|alien|
alien monster|grinning cat|see-no-evil monkey|Santa Claus|
red heart|orange heart|yellow heart|green heart|blue heart|purple heart|broken heart|sparkling heart|collision|speech balloon|
eye|tooth|bone|brain|ear|nose|thumbs up|
bus|ambulance|fire engine|police car|taxi|automobile|sport utility vehicle|pickup truck|delivery truck|tractor|racing car|
motorcycle|motor scooter|bicycle|locomotive|tram|skateboard|roller skate|vertical traffic light|stop sign|fuel pump|wheel|
crescent moon|full moon|sun|sun with face|ringed planet|star|cloud|rainbow|umbrella with rain drops|snowflake|snowman|fire|
droplet|high voltage|tornado|water wave|comet|cloud with rain|sun behind cloud|
Christmas tree|balloon|party popper|wrapped gift|trophy|soccer ball|baseball|basketball|volleyball|american football|tennis|
bowling|pool 8 ball|bullseye|kite|video game|game die|puzzle piece|mirror ball|artist palette|crystal ball|yarn|
glasses|sunglasses|necktie|t-shirt|jeans|scarf|gloves|coat|socks|dress|kimono|handbag|backpack|running shoe|
high-heeled shoe|crown|top hat|graduation cap|billed cap|lipstick|ring|gem stone|
bell|radio|mobile phone|telephone|battery|laptop|television|camera|candle|light bulb|flashlight|red paper lantern|
open book|green book|books|newspaper|scroll|money bag|coin|envelope|package|pencil|paintbrush|crayon|calendar|pushpin|
paperclip|scissors|key|locked|hammer|axe|dagger|bomb|shield|wrench|screwdriver|gear|magnet|test tube|microscope|telescope|
syringe|pill|door|mirror|bed|chair|toilet|bathtub|broom|basket|bucket|soap|toothbrush|shopping cart|hourglass done|
alarm clock|watch|house|hut|castle|tent|volcano|mountain|desert island|ferris wheel|fountain|hot springs|brick|rock|wood|
world map|compass|magic wand|nesting dolls|thread|safety pin|military helmet|police car light|boomerang|ladder|nazar amulet""".replace("\n", "").split("|")
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
    names = [r["name"] for r in have if r["name"] not in HELD_OUT
             and ((r["subgroup"] in WHOLE and r["name"] not in LEAVE) or r["name"] in more)]
    Path(a.out).parent.mkdir(parents=True, exist_ok=True)
    Path(a.out).write_text("\n".join(names) + "\n")
    print(len(names), "names")


if __name__ == "__main__":
    main()
