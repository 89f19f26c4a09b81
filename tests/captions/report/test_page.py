"""The page: its data, and what a person sees of it in Chromium."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catclip.captions.hierarchy import depth, find_synset, path
from catclip.captions.report.page import describe, to_script_json, write_page
from tests.browser import browse
from tests.captions.report.making import captions, corpus_of, large_corpus

DOG, CORGI = map(find_synset, ["dog.n.01", "corgi.n.01"])
GLOSSES = {DOG: 'a member of the genus Canis; "<b>the dog</b> barked & ran"', CORGI: "either of two Welsh breeds"}
HOSTILE = [
    "a cat </script><script>window.hacked = 1</script>",
    "a cat <img src=x onerror='window.hacked = 1'> & <!-- <script>",
    "a cat\u2028\u2029 {{data}} {{style}} \\u003c ${window.hacked = 1} `'\"",
]
# Half as many corgis as tau, so that they are dogs; cats as hostile as can be.
CAPTIONS = [*["a dog on a sofa"] * 20, *["two corgis"] * 5, *HOSTILE * 5, *["a group"] * 12, *["chess"] * 2]


def page_of(made, folder, glosses=GLOSSES, **pruning):
    corpus, whole = made
    page = folder / "vocab.html"
    write_page(corpus, whole.prune(**pruning), glosses, page)
    return page


@pytest.fixture(scope="module")
def made():
    return corpus_of(CAPTIONS)


@pytest.fixture(scope="module")
def rolled_up(made, tmp_path_factory):
    return page_of(made, tmp_path_factory.mktemp("page"), tau=10, how="rollup")


# ---------------------------------------------------------------- data


@given(
    st.recursive(st.text() | st.sampled_from(HOSTILE), lambda each: st.lists(each) | st.dictionaries(st.text(), each))
)
def test_json_in_a_script_is_only_json(data):
    text = to_script_json(data)
    assert json.loads(text) == data
    assert not re.search("[<>&\u2028\u2029]", text)


@pytest.mark.parametrize(("how", "glosses"), [("drop", {}), ("rollup", GLOSSES)])
def test_every_synset_of_the_corpus_is_there(how, glosses):
    corpus, whole = corpus_of(captions(200))
    vocabulary = whole.prune(12, how=how, exclude=["dog.n.01"])
    data = describe(corpus, vocabulary, glosses)
    wnids = [f"n{offset:08}" for offset in data["offsets"]]
    assert wnids[: len(vocabulary)] == vocabulary.wnids
    listed = len(vocabulary) + data["about"]["tail"]
    assert set(wnids[:listed]) == set(whole) | set(vocabulary)
    assert set(wnids[listed:]) == {up for wnid in wnids[:listed] for up in path(wnid)} - set(wnids[:listed])
    assert data["counts"] == [corpus.counts[wnid] for wnid in wnids]
    assert data["totals"] == vocabulary.counts
    assert len(data["captions"]) == listed
    for row, above in enumerate(data["above"]):
        assert path(wnids[row])[:-1][-1:] == ([wnids[above]] if above >= 0 else [])
    for row, into in enumerate(data["tail"], len(vocabulary)):
        if into >= 0:
            assert vocabulary.rollup[wnids[row]].into == wnids[into]
        else:
            assert into == (-2 if wnids[row] == DOG or (how == "rollup" and depth(wnids[row]) < 3) else -1)
    assert data["glosses"] == ([glosses.get(wnid, "") for wnid in wnids] if glosses else [])


def test_the_same_vocabulary_gives_the_same_page(made, rolled_up, tmp_path):
    assert page_of(made, tmp_path, tau=10, how="rollup").read_bytes() == rolled_up.read_bytes()


# ---------------------------------------------------------------- in Chromium


@pytest.fixture(scope="module")
def tab():
    with browse() as tab:
        yield tab


@pytest.fixture
def page(tab):
    """The tab; nothing may have gone wrong in its console, and nothing but the page may have been asked for."""
    tab.errors.clear()
    tab.requests.clear()
    yield tab
    tab.run("1")  # whatever the console has to say has come before the answer
    assert tab.errors == []
    assert len({url.partition("#")[0] for url in tab.requests}) == 1
    assert tab.run("window.hacked") is None
    tab.send("Page.navigate", url="about:blank")


def words(page):
    return page.run("[...document.querySelectorAll('.row .word')].map((each) => each.firstChild.textContent)")


def test_search_and_open_a_synset(page, rolled_up):
    page.open(rolled_up.as_uri())
    assert page.text("h1") == "vocab: 4 labels"
    assert words(page) == ["dog", "sofa", "cat", "window"]
    page.type("CA")
    assert words(page) == ["dog", "cat"]
    assert page.text("#found") == "2 synsets"
    page.press("ArrowDown")
    page.press("Enter")
    assert page.text("h2").startswith("cat, true cat")
    page.press("ArrowUp")
    assert page.text("h2") == "dog, domestic dog, Canis familiaris"
    assert "dog.n.01 · n02084071 · animal" in page.text("#detail")
    assert page.text(".state") == "Label 0, 25 occurrences, 20 its own and 5 rolled up into it."
    assert page.text(".gloss") == GLOSSES[DOG]
    assert page.text(".path").split()[-3:] == ["carnivore", "canine", "dog"]
    assert page.text("#detail-captions li") == "a dog on a sofa"
    assert page.text("#detail-rolled li") == "corgi 5"
    page.press("Escape")
    assert len(words(page)) == 4


def test_the_tail(page, rolled_up):
    page.open(rolled_up.as_uri())
    page.click("[data-filter=rolled]")
    assert page.text(".row .word") == "corgi → dog"
    page.click(".row")
    page.wait("document.querySelector('h2').innerText.startsWith('corgi')")
    assert page.text(".state") == "Rolled up into dog: 5 occurrences."
    page.click("[data-filter=pruned]")
    assert {"group", "chess"} < set(words(page))
    page.click(".row")
    page.wait("document.querySelector('.state').innerText.includes('too general')")
    page.click("#search")
    page.type("chess")
    page.click(".row")
    page.wait("document.querySelector('.state').innerText.includes('rare, and so is all above it')")
    # A synset's address opens it; the browser's back button leads to the one before.
    page.open(f"{rolled_up.as_uri()}#{CORGI}")
    page.wait("document.querySelector('h2').innerText.startsWith('corgi')")
    page.click(".state a")
    page.wait("document.querySelector('h2').innerText.startsWith('dog')")
    page.run("history.back()")
    page.wait("document.querySelector('h2').innerText.startsWith('corgi')")


@pytest.mark.parametrize("pruning", [{"tau": 10}, {"top_k": 2}])
def test_why_synsets_were_dropped(page, made, tmp_path, pruning):
    page.open(page_of(made, tmp_path, glosses={}, **pruning).as_uri())
    page.click("[data-filter=pruned]")
    page.type("chess" if "tau" in pruning else "cat")
    page.press("Enter")
    why = "2 occurrences, rarer than τ = 10." if "tau" in pruning else "15 occurrences, not among the 2 most frequent."
    page.wait(f"document.querySelector('.state').innerText === 'Pruned: {why}'")
    assert page.run("document.querySelector('.gloss')") is None


def test_hostile_captions_are_only_text(page, rolled_up):
    page.open(rolled_up.as_uri())
    page.type("cat")
    page.press("Enter")
    page.wait("document.querySelector('h2').innerText.startsWith('cat')")
    shown = page.run("[...document.querySelectorAll('#detail-captions li')].map((each) => each.textContent)")
    assert sorted(shown) == sorted(HOSTILE)
    assert page.run("document.querySelectorAll('script').length") == 2
    assert page.run("document.querySelectorAll('img, iframe, b b').length") == 0


def test_nothing_else_may_run(page, rolled_up):
    """Even if a caption got into the page as HTML, its policy would not let it do anything."""
    page.open(rolled_up.as_uri())
    page.run("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.hacked = 1\">')")
    page.wait("document.querySelector('img').complete")
    page.run("new Promise((done) => setTimeout(done, 50))")
    assert any("Content Security Policy" in error for error in page.errors)
    page.errors.clear()
    page.requests[1:] = []  # blocked ones


def test_many_rows(page, tmp_path):
    made = large_corpus(24_000, 40_000)
    page.open(page_of(made, tmp_path, tau=10).as_uri())
    assert page.text("#found") == "24,000 synsets"
    assert page.run("document.querySelectorAll('.row').length") < 80
    page.run("document.querySelector('#list').focus()")
    page.press("End")
    assert page.text(".row[aria-selected=true] .rank") == "23,999"
    page.press("ArrowUp")
    assert page.text(".row[aria-selected=true] .rank") == "23,998"
    assert page.run("document.querySelectorAll('.row').length") < 80
    page.click("[data-filter=all]")
    assert page.text("#found") == "64,000 synsets"
    box = "document.querySelector('#search')"
    milliseconds = page.run(
        f"(() => {{ const start = performance.now(); for (const text of ['d', 'do', 'dog']) {{ {box}.value = text;"
        f" {box}.dispatchEvent(new Event('input')); }} return performance.now() - start; }})()"
    )
    assert milliseconds < 3000  # three letters, on a busy machine
    found = words(page)
    assert found[0] == "dog"


def test_narrow_windows_show_one_thing_at_a_time(page, rolled_up):
    page.open(rolled_up.as_uri(), width=380, height=700)
    assert page.run("document.documentElement.scrollWidth") == 380
    assert page.run("getComputedStyle(document.querySelector('#detail')).display") == "none"
    page.click(".row")
    page.wait("document.body.classList.contains('open')")
    box = page.run(
        "(() => { const b = document.querySelector('#detail').getBoundingClientRect(); return [b.width, b.height]; })()"
    )
    assert box == [380, 700]
    page.click("#back")
    page.wait("getComputedStyle(document.querySelector('#detail')).display === 'none'")
    page.press("Enter")
    page.wait("document.body.classList.contains('open')")
    page.press("Escape")
    page.wait("!document.body.classList.contains('open')")


@pytest.mark.parametrize("dark", [False, True])
def test_light_and_dark(page, rolled_up, dark):
    page.open(rolled_up.as_uri(), dark=dark)
    colours = page.run(
        "['backgroundColor', 'color'].map((key) => getComputedStyle(document.body)[key].match(/\\d+/g).map(Number))"
    )
    back, text = (sum(colour) / 3 for colour in colours)
    assert (back < 60 and text > 180) if dark else (back > 240 and text < 60)
