"""Each kind of source gives drawings with true words, and says whose they are."""

import hashlib
import io
import json
import shutil
import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from PIL import Image

from generation.learning.dataset.captioned import Consented, write_consents
from generation.learning.dataset.packages import SourceError
from generation.learning.dataset.recipe import DataRecipe, Package, Source
from generation.learning.dataset.sources import (
    assets,
    collect,
    dicebear,
    folder,
    iconify,
    openclipart,
)
from generation.learning.dataset.sources.drawing import Collected
from generation.learning.dataset.sources.traits import TRAITS, choose
from generation.learning.dataset.words import Meaning, WordList, squeezed
from generation.learning.recipes.work import Work

MEANINGS = {
    "1f98a": Meaning(concept="fox"),
    "2764": Meaning(concept="red heart"),
    "1f44b-1f3ff": Meaning(concept="waving hand with dark skin tone", has_tone=True),
}
LABELS = {squeezed(meaning.concept): key for key, meaning in MEANINGS.items()}
WORDS = WordList(MEANINGS, by_label=LABELS, by_name={**LABELS, "foxface": "1f98a"})
INFO = {
    "name": "Icons",
    "author": {"name": "Ann", "url": "https://icons.example"},
    "license": {"spdx": "MIT"},
}
BLUE = '<path fill="#00f" d="M0 0h8v8H0z"/>'


def packed(cache: Path, name: str, files: Mapping[str, bytes | object]) -> str:
    cache.mkdir(parents=True, exist_ok=True)
    path = cache / f"{name}-1.0.0.tgz"
    with tarfile.open(path, "w:gz") as archive:
        for member_name, content in files.items():
            encoded = content if isinstance(content, bytes) else json.dumps(content).encode()
            member = tarfile.TarInfo(f"package/{member_name}")
            member.size = len(encoded)
            archive.addfile(member, io.BytesIO(encoded))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def icon_set(
    cache: Path,
    names: Sequence[str],
    chars: Mapping[str, str] | None = None,
    suffixes: Mapping[str, str] | None = None,
) -> str:
    icons = {
        "width": 8,
        "height": 8,
        "icons": {name: {"body": BLUE} for name in names} | {"old": {"body": "", "hidden": True}},
        "aliases": {"red-heart": {"parent": "heart"}},
    }
    files = {
        "info.json": INFO,
        "icons.json": icons,
        "chars.json": chars or {},
        "metadata.json": {"suffixes": suffixes or {}},
    }
    return packed(cache, "icons", files)


def source(sha256: str, kind: str = "iconify", **changes: object) -> Source:
    fields: dict[str, object] = {
        "look": "flat",
        "kind": kind,
        "package": "icons",
        "version": "1.0.0",
        "sha256": sha256,
        "licence": "MIT",
    }
    return Source(**(fields | changes))  # type: ignore[arg-type]


def concepts(collected: Collected) -> list[str]:
    return [drawing.meaning.concept for drawing in collected.drawings]


def png(colour: str = "red") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(file, "PNG")
    return file.getvalue()


def test_emoji_are_found_by_code_point_alias_and_name(tmp_path: Path) -> None:
    chars = {"2764-fe0f": "red-heart", "1f98a": "renard"}
    sha256 = icon_set(tmp_path, ["renard", "heart", "waving-hand-dark-skin-tone"], chars)
    found = iconify.collect(source(sha256, is_emoji=True), tmp_path, WORDS)
    assert sorted(concepts(found)) == ["fox", "red heart", "waving hand with dark skin tone"]


def test_unknown_emoji_name_is_read_as_words(tmp_path: Path) -> None:
    known = WordList(MEANINGS, LABELS, LABELS, frequency={"grey": 3, "wolf": 3})
    found = iconify.collect(
        source(icon_set(tmp_path, ["greywolf", "sea-cow-2", "elf-dark"]), is_emoji=True),
        tmp_path,
        known,
    )
    assert concepts(found) == ["grey wolf", "sea cow", "elf with dark skin tone"]
    assert [drawing.meaning.has_tone for drawing in found.drawings] == [False, False, True]


def test_recipe_with_concepts_takes_no_other_names(tmp_path: Path) -> None:
    chosen = WordList({"1f98a": MEANINGS["1f98a"]}, LABELS, LABELS, is_restricted=True)
    sha256 = icon_set(tmp_path, ["fox", "red-heart", "greywolf"])
    for is_emoji in (True, False):
        found = iconify.collect(source(sha256, is_emoji=is_emoji), tmp_path, chosen)
        assert concepts(found) == ["fox"]


def test_icons_of_several_sizes_are_taken_once_in_the_best(tmp_path: Path) -> None:
    names = ["fox-16", "fox-48", "sea-16", "sea", "home-2-48"]
    sha256 = icon_set(tmp_path, names, suffixes={"16": "16", "48": "48", "": ""})
    found = iconify.collect(source(sha256, endings=("48", "16")), tmp_path, WORDS)
    taken = {drawing.name: drawing.meaning.concept for drawing in found.drawings}
    assert taken == {"fox-48": "fox", "home-2-48": "home", "sea-16": "sea"}


def test_icons_of_two_manners_are_parted(tmp_path: Path) -> None:
    sha256 = icon_set(tmp_path, ["fox", "fox-duo"], suffixes={"": "", "duo": "Duo"})
    for ending, name in (("", "fox"), ("duo", "fox-duo")):
        found = iconify.collect(source(sha256, endings=(ending,)), tmp_path, WORDS)
        assert [drawing.name for drawing in found.drawings] == [name]


def test_credit_comes_from_the_package(tmp_path: Path) -> None:
    credit = iconify.collect(source(icon_set(tmp_path, ["fox"])), tmp_path, WORDS).credit
    assert (credit.title, credit.author, credit.licence) == ("Icons", "Ann", "MIT")
    assert credit.url == "https://icons.example"


def test_other_licence_than_the_recipes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"'MIT'.*'CC0-1\.0'"):
        iconify.collect(source(icon_set(tmp_path, ["fox"]), licence="CC0-1.0"), tmp_path, WORDS)


def test_bitmaps_are_found_by_code_point(tmp_path: Path) -> None:
    about = {"license": "MIT", "author": {"name": "Ann"}, "homepage": "https://icons.example"}
    files = {"package.json": about, "assets/1f98a.webp": png(), "assets/ffff.webp": png()}
    sha256 = packed(tmp_path, "icons", files)
    found = assets.collect(source(sha256, "assets", author="Bob"), tmp_path, WORDS)
    assert concepts(found) == ["fox"]
    assert found.credit.author == "Bob"


def pictures(tmp_path: Path, *names: str) -> Source:
    (tmp_path / "mine").mkdir(exist_ok=True)
    for name in names:
        (tmp_path / "mine" / name).write_bytes(png())
    return Source(look="plain", kind="folder", path="mine")


def test_folder_gives_names_and_captions(tmp_path: Path) -> None:
    mine = pictures(tmp_path, "red-square.png", "fox_2.PNG", "IMG_2034.png")
    (tmp_path / "mine" / "red-square.txt").write_text("a crimson box\nthe red one\n")
    (tmp_path / "mine" / "IMG_2034.txt").write_text("A boat\n")
    found = {
        drawing.name: drawing.meaning for drawing in folder.collect(mine, tmp_path, WORDS).drawings
    }
    assert {name: meaning.concept for name, meaning in found.items()} == {
        "IMG_2034": "a boat",
        "fox_2": "fox",
        "red-square": "red square",
    }
    assert found["red-square"].phrases == ("a crimson box", "the red one")


def test_picture_without_words_is_left_out_by_name(tmp_path: Path) -> None:
    mine = pictures(tmp_path, "fox.png", "IMG_2034.png", "8f3a-11.png")
    found = folder.collect(mine, tmp_path, WORDS)
    assert concepts(found) == ["fox"]
    assert set(found.unusable) == {"IMG_2034", "8f3a-11"}
    assert "IMG_2034.txt" in found.unusable["IMG_2034"]


def test_dataset_without_captions_is_refused_with_the_next_step(tmp_path: Path) -> None:
    mine = pictures(tmp_path, "DSC0001.png", "DSC0002.png")
    with pytest.raises(SourceError, match=r"none of the 2 pictures.*DSC0001\.txt"):
        folder.collect(mine, tmp_path, WORDS)


def test_missing_and_empty_folders_are_explained(tmp_path: Path) -> None:
    mine = Source(look="plain", kind="folder", path="mine")
    with pytest.raises(SourceError, match="there is no folder"):
        folder.collect(mine, tmp_path, WORDS)
    (tmp_path / "mine").mkdir()
    with pytest.raises(SourceError, match="no PNG, WebP or JPEG"):
        folder.collect(mine, tmp_path, WORDS)


def test_caption_in_another_encoding_is_named(tmp_path: Path) -> None:
    mine = pictures(tmp_path, "fox.png")
    (tmp_path / "mine" / "fox.txt").write_bytes("ein Fuchs für dich".encode("latin-1"))
    with pytest.raises(SourceError, match=r"fox\.txt is not UTF-8"):
        folder.collect(mine, tmp_path, WORDS)


def test_gallery_gives_only_pictures_whose_makers_agreed(tmp_path: Path) -> None:
    mine = pictures(tmp_path, "fox.png", "wolf.png", "bear.png")
    agreed = Consented(hashlib.sha256(png()).hexdigest(), consent_id=1)
    changed = Consented("0" * 64, consent_id=2)
    write_consents(tmp_path / "mine", {"fox.png": agreed, "bear.png": changed})
    found = folder.collect(mine, tmp_path, WORDS)
    assert concepts(found) == ["fox"]
    assert set(found.unusable) == {"wolf", "bear"}


def clip_art(title: str, licence: str, tags: Sequence[str] = (), artist: str = "") -> str:
    return f"""<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8">
    <rdf:RDF xmlns="http://web.resource.org/cc/" xmlns:dc="http://purl.org/dc/elements/1.1/"
      xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><Work>
      <dc:title>{title}</dc:title>
      <dc:creator><Agent><dc:title>{artist}</dc:title></Agent></dc:creator>
      <dc:subject><rdf:Bag>{"".join(f"<rdf:li>{tag}</rdf:li>" for tag in tags)}</rdf:Bag></dc:subject>
      <license rdf:resource="{licence}"/></Work></rdf:RDF>{BLUE}</svg>"""


def debian(tmp_path: Path, files: Mapping[str, str], terms: str) -> Source:
    tree = tmp_path / "tree"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN" / "control").write_text(
        "Package: icons\nVersion: 1.0.0\nArchitecture: all\nMaintainer: x <x@y.z>\nDescription: x\n"
    )
    texts = {openclipart.ROOT + name: text for name, text in files.items()}
    for name, text in {**texts, openclipart.COPYRIGHT: terms}.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text, encoding="utf-8")
    built = tmp_path / "icons_1.0.0.deb"
    subprocess.run(["dpkg-deb", "--build", str(tree), str(built)], check=True, capture_output=True)
    sha256 = hashlib.sha256(built.read_bytes()).hexdigest()
    return source(sha256, "openclipart", licence="CC-PDDC", groups=("animals/",))


needs_dpkg = pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="needs dpkg-deb")
FREE = "http://web.resource.org/cc/PublicDomain"
TERMS = "Copyright-Only Dedication (based on United States law)"


@needs_dpkg
def test_clip_art_is_taken_only_with_words_and_a_free_licence(tmp_path: Path) -> None:
    files = {
        "animals/fox.svg": clip_art("Fox", FREE, ["canine", "hash(0x8a)", "unsorted"]),
        "animals/wolf_ann_lee_01.svg": clip_art("", FREE, artist="Ann Lee"),
        "animals/gnu.svg": clip_art("Gnu", "http://creativecommons.org/licenses/GPL/2.0/"),
        "animals/yak.svg": clip_art("Yak", ""),
        "animals/broken.svg": "<svg",
        "tools/saw.svg": clip_art("Saw", FREE),
    }
    found = openclipart.collect(debian(tmp_path, files, TERMS), tmp_path, WORDS)
    by_name = {drawing.name: drawing.meaning for drawing in found.drawings}
    assert {name: each.concept for name, each in by_name.items()} == {
        "animals/fox": "fox",
        "animals/wolf_ann_lee_01": "wolf",
    }
    assert by_name["animals/fox"].tags == ("canine",)
    assert set(found.unusable) == {"animals/gnu", "animals/yak", "animals/broken"}


@needs_dpkg
def test_clip_art_under_new_terms_is_refused(tmp_path: Path) -> None:
    changed = debian(tmp_path, {"animals/fox.svg": clip_art("Fox", FREE)}, "All rights reserved")
    with pytest.raises(SourceError, match="licence"):
        openclipart.collect(changed, tmp_path, WORDS)


DESIGN = b"# Design\nDesigner: Ann (https://ann.example)\nLicense: CC0 1.0 (https://cc.example)\n"
CORE = b"""export function createAvatar(style, options) {
  return { toString: () => `<svg xmlns="http://www.w3.org/2000/svg">${style.name} ${options.seed}</svg>` };
}"""


def avatars(cache: Path, style: bytes = b'export const name = "ringed";', count: int = 3) -> Source:
    def module(name: str) -> object:
        return {"name": f"@dicebear/{name}", "type": "module", "exports": "./index.js"}

    rings = {"package.json": module("rings"), "index.js": style, "LICENSE": DESIGN}
    core = {"package.json": module("core"), "index.js": CORE}
    return source(
        packed(cache, "dicebear-rings", rings),
        "dicebear",
        package="@dicebear/rings",
        licence="CC0-1.0",
        limit=count,
        requires=(
            Package(
                package="@dicebear/core",
                version="1.0.0",
                sha256=packed(cache, "dicebear-core", core),
            ),
        ),
    )


needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js")


@needs_node
def test_avatars_are_drawn_by_node_with_the_designers_credit(tmp_path: Path) -> None:
    found = dicebear.collect(avatars(tmp_path), tmp_path, WordList())
    assert [str(drawing.picture.content)[40:-6] for drawing in found.drawings] == [
        "ringed 0",
        "ringed 1",
        "ringed 2",
    ]
    assert all(concept.endswith(" rings") for concept in concepts(found))
    assert (found.credit.author, found.credit.licence) == ("Ann", "CC0-1.0")


@needs_node
def test_style_that_node_cannot_run_is_explained(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"SyntaxError.*Node\.js 18"):
        dicebear.collect(avatars(tmp_path, b"export const = 3;"), tmp_path, WordList())


def test_missing_node_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ready = avatars(tmp_path / "cache")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SourceError, match=r"node is needed.*Node\.js"):
        dicebear.collect(ready, tmp_path / "cache", WordList())


@pytest.mark.parametrize("style", TRAITS)
def test_avatar_shows_what_its_caption_says(style: str) -> None:
    for number in range(30):
        chosen = choose(style, number)
        assert choose(style, number) == chosen
        said, options = chosen.concept, chosen.options
        if "glassesProbability" in options:
            assert (options["glassesProbability"] == 100) == ("glasses" in said)
        if "beardProbability" in options:
            assert (options["beardProbability"] == 100) == ("beard" in said)
        assert all(said in phrase for phrase in chosen.phrases)
    assert len({choose(style, number).concept for number in range(60)}) > 5


def recipe(*sources: Source, **changes: object) -> DataRecipe:
    fields: dict[str, object] = {
        "name": "x",
        "default_look": sources[0].look,
        "sizes_px": (8,),
        "sources": sources,
        "words": Package(package="emojibase-data", version="1", sha256="0"),
    }
    return DataRecipe(**(fields | changes))  # type: ignore[arg-type]


def test_skin_tones_and_flags_are_capped_by_the_same_lot_in_every_look(tmp_path: Path) -> None:
    work = Work(tmp_path, "x")
    names = [f"{name}-dark" for name in ("elf", "man", "boy", "girl", "hand", "ear")]
    kept = []
    for look, order in (("one", names), ("two", names[::-1])):
        sha256 = icon_set(work.packages, [*order, "flag-a", "flag-b", "fox"])
        icons = source(sha256, is_emoji=True, look=look)
        capped = recipe(icons, skin_tones=2, flags=1)
        kept.append({each.name for each in collect.collect(icons, capped, work, WORDS).drawings})
    assert kept[0] == kept[1]
    assert len([name for name in kept[0] if name.endswith("-dark")]) == 2
    assert len([name for name in kept[0] if name.startswith("flag")]) == 1
    assert "fox" in kept[0]


def test_limit_keeps_that_many(tmp_path: Path) -> None:
    work = Work(tmp_path, "x")
    icons = source(icon_set(work.packages, [f"icon{i}" for i in "abcdefgh"]), limit=3)
    assert len(collect.collect(icons, recipe(icons), work, WORDS).drawings) == 3


def test_unwanted_concepts_and_words_are_left_out_by_name(tmp_path: Path) -> None:
    work = Work(tmp_path, "x")
    icons = source(icon_set(work.packages, ["fox", "acme-logo", "wall-e", "wall"]))
    found = collect.collect(icons, recipe(icons, without=("logo", "wall e")), work, WORDS)
    assert concepts(found) == ["fox", "wall"]
    assert set(found.unusable) == {"acme-logo", "wall-e"}


def test_a_set_may_lack_a_concept_but_not_all_of_them(tmp_path: Path) -> None:
    work = Work(tmp_path, "x")
    icons = source(icon_set(work.packages, ["fox"]), is_emoji=True)
    chosen = recipe(icons, concepts={"fox": "🦊", "unicorn": "🦄"})
    drawings = collect.collect(icons, chosen, work, WORDS).drawings
    assert [drawing.meaning.concept for drawing in drawings] == ["fox"]
    collect.check_complete(chosen, {"fox", "unicorn"})
    with pytest.raises(SourceError, match=r"\['unicorn'\]"):
        collect.check_complete(chosen, {"fox"})
