"""Words of instructions that are never typing errors, however near another word they are."""

__all__ = ["FUNCTION_WORDS", "is_word"]

FUNCTION_WORDS = frozenset(
    """
    and at by from in into it of off on onto or out over that the then to up with
    black blue brown gray green grey orange pink purple red white yellow left right
    close drop flip fold grab grasp hang hold insert lift move open pick place pour press pull push put remove rotate
    slide stack sweep take turn wipe
    """.split()  # noqa: SIM905 - a list of words reads better so
)
"""Where one of these stands, hardly any other word makes sense: a word near it is it."""

_WORDS = frozenset(
    """
    above across add adjust after again against align all along also an and another any apart apple apron arm around
    as aside at away back bag ball balls banana bar base basket bat batter battery be beaker bean beans bear bed
    beef bell below belt bench bend beside best bigger bike bin bird bit black blade blanket block blocks blow blue
    board boat boil bolt bone book books boot bottle bottom bowl bowls box boxes bread brick bring broom brown brush
    bucket bulb bun burger butter button by cab cabbage cabinet cable cake call can candle candy cane cans cap car
    card cards carpet carrot carry cart case cat catch cell center chain chair charge cheese chest chip chips chop
    circle clamp clay clean clear clip clock close closed cloth coal coaster coat coffee coin cold collar comb cone
    cook cooker cookie cord cork corn corner corners cot cover cow crate cream cross cube cubes cucumber cup
    cupboard cups curtain cushion cut cylinder dark dart deck deep desk dice dish dishes dispenser dog doll dome
    door double down drag drain draw drawer drawers dress drill drink drive drop dry duck dust each east edge egg
    eggs eight empty end enter erase every exit eye face fan far fast feed fetch file fill film find finger fish
    fist five fix flag flap flask flat flip floor flour flower fluid foam foil fold food foot fork forks four frame
    freezer fresh fridge from front fruit full game garlic gate gear get give glass glasses glove glue goal gold
    good grape grapes grasp gray green grey grid grill grip ground hair half ham hammer hand handle hang hanger hard
    hat head heart heat heavy here high hinge hit hold holder hole honey hook hoop horn hose hot house in insert
    inside into iron is it its jam jar jaw jug juice just keep kettle key keyboard keys kick kiwi knife knob ladle
    lamp large last latch leaf leave left leg lego lemon lens letter lever lid lift light lights lime line link lip
    list little lock log long look loop loose low lower lunch magnet mail make many map mark marker mat match meal
    meat melon metal microwave middle milk mix mixer mold mop more mouse mouth move mug mugs mushroom nail napkin
    near neck needle nest net new next nine north nose not note nut nuts of off oil one onion only onto open or
    orange other out outer oven over pack pad page paint pair pan pans paper part pass pasta paste path pea peach
    pear peas peel peg pen pencil pens pepper phone pick piece pieces pile pill pillow pin pink pipe pit pitcher
    place plane plant plate plates play plier plug plum point pole pop pork port position post pot potato pots pour
    power press pull pump purple purse push put puzzle rack radio rag rail raise rake ramp reach rear red remote
    remove replace rest return rice right ring rings rinse rip road robot rock rod roll roller roof room rope rotate
    round row rub ruler salad salt sand sauce saucer sausage saw scale scan scissors scoop scrape screen screw seal
    seat sensor set seven shake sheep sheet shelf shell shirt shoe shop short shovel show shut side sides silver
    sink sit six size skin slice slide slot slow small smooth snack soap sock socket soda sofa soft soup south
    spatula spice spin sponge spoon spoons spot spray spread square squash squeeze stack stand star start steak
    steam steel steer stem step stick stir stop store stove straight straw string strip sugar sweep sweet switch
    table take tall tank tap tape tea tear ten test than that the them then there these thin thing this those three
    through throw tie tile tin tip tire to toast toaster together tomato too tool top torch toss touch towel tower
    toy toys track trash tray tree triangle tub tube tubes tune turn turner twist two under unfold unlock unplug
    unscrew unstack up upper upright use vase vent vertical wall wand warm wash waste water wax way west wet what
    wheel while white wide window wine wipe wire with wood wooden wool wrap wrench write yellow yogurt zero zip zone
    """.split()  # noqa: SIM905 - a list of words reads better so
)


def is_word(word: str) -> bool:
    """Whether a word, in lower case, is a common one of instructions or its plural."""
    return word in FUNCTION_WORDS or word in _WORDS or (word.endswith("s") and word[:-1] in _WORDS)
