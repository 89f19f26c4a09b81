"use strict";
// Everything shown is set as text, never as HTML: captions come from the web.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const { about } = data;
  const ROW = 34; // pixels, as in the style
  const SHOWN = 40; // synsets listed in a detail
  const narrow = matchMedia("(max-width: 820px)"); // as in the style: a detail covers the list
  const RARE = -1, GENERAL = -2;
  const labels = about.labels, listed = labels + about.tail;
  const element = (id) => document.getElementById(id);
  const [search, list, spacer, found, detail, filters] =
    ["search", "list", "spacer", "found", "detail", "filters"].map(element);

  // ---- what a row is ---------------------------------------------------------------------------------------------

  const lemmas = data.lemmas.map((joined) => joined.split("|"));
  const isLabel = (row) => row < labels;
  const intoOf = (row) => (isLabel(row) || row >= listed ? RARE : data.tail[row - labels]);
  const isRolled = (row) => intoOf(row) >= 0;
  const total = (row) => (isLabel(row) ? data.totals[row] : data.counts[row]);
  const wnid = (row) => "n" + String(data.offsets[row]).padStart(8, "0");
  const name = (row) =>
    `${lemmas[row][0].toLowerCase().replaceAll(" ", "_")}.n.${String(data.senses[row]).padStart(2, "0")}`;
  const categoryOf = (row) => data.categories[data.category[row]];
  const rowOf = new Map(data.offsets.map((_, row) => [wnid(row), row]));
  const number = (value) => value.toLocaleString("en");
  const percent = (share) => `${about.estimated ? "about " : ""}${(100 * share).toFixed(2)}%`;

  const children = (column, rows) => {
    const of = new Map();
    for (let row = 0; row < rows; row++) {
      const above = column(row);
      if (above >= 0) (of.get(above) ?? of.set(above, []).get(above)).push(row);
    }
    return of;
  };
  const rolledInto = children(intoOf, listed);
  const below = children((row) => data.above[row], data.offsets.length);

  // ---- search ----------------------------------------------------------------------------------------------------

  const FILTERS = [
    ["all", "all", () => true, listed],
    ["labels", "labels", isLabel, labels],
    ["rolled", "rolled up", isRolled, 0],
    ["pruned", "pruned", (row) => !isLabel(row) && !isRolled(row), 0],
  ];
  for (const each of FILTERS.slice(2)) {
    for (let row = labels; row < listed; row++) each[3] += each[2](row);
  }
  const words = data.lemmas.map((joined, row) => `|${joined.toLowerCase()}|${name(row)}|${wnid(row)}|`);
  const glosses = data.glosses.map((gloss) => gloss.toLowerCase());
  let filter = "labels";
  let rows = []; // what the list shows

  /** Rows that match: whole words first, then what starts so, contains it, and last what only the gloss contains. */
  function find(query) {
    const wanted = FILTERS.find(([key]) => key === filter)[2];
    const tiers = [[], [], [], [], []];
    for (let row = 0; row < listed; row++) {
      if (!wanted(row)) continue;
      const text = words[row];
      if (!query || text.includes(`|${query}|`)) tiers[0].push(row);
      else if (text.includes(`|${query}`)) tiers[1].push(row);
      else if (text.includes(` ${query}`)) tiers[2].push(row);
      else if (text.includes(query)) tiers[3].push(row);
      else if (glosses.length && glosses[row].includes(query)) tiers[4].push(row);
    }
    return tiers.flat();
  }

  function update() {
    const query = search.value.trim().toLowerCase().replaceAll("|", " ").replaceAll("_", " ").replace(/\s+/g, " ");
    // Names have underscores, lemmas spaces: dog.n.01, hot dog.
    rows = find(/\.n\.\d*$/.test(query) ? query.replaceAll(" ", "_") : query);
    found.textContent = rows.length === 1 ? "1 synset" : `${number(rows.length)} synsets`;
    spacer.style.height = `${rows.length * ROW}px`;
    list.scrollTop = 0;
    active = rows.length ? 0 : -1;
    render();
  }

  // ---- list: only the rows in sight are in the document ------------------------------------------------------------

  let active = -1; // place in `rows`
  const most = Math.max(1, ...data.totals.slice(0, 1), data.counts[labels] ?? 0);

  function make(tag, className, ...content) {
    const made = document.createElement(tag);
    if (className) made.className = className;
    made.append(...content);
    return made;
  }

  function render() {
    const first = Math.max(0, Math.floor(list.scrollTop / ROW) - 8);
    const last = Math.min(rows.length, Math.ceil((list.scrollTop + list.clientHeight) / ROW) + 8);
    const made = [];
    for (let place = first; place < last; place++) made.push(renderRow(place));
    spacer.replaceChildren(...made);
    if (active >= first && active < last) list.setAttribute("aria-activedescendant", `row-${active}`);
    else list.removeAttribute("aria-activedescendant");
  }

  function renderRow(place) {
    const row = rows[place];
    const [first, ...others] = lemmas[row];
    const word = make("span", "word", first);
    if (isRolled(row)) word.append(" ", make("span", "into", `→ ${lemmas[intoOf(row)][0]}`));
    else if (others.length) word.append(" ", make("small", "", others.join(", ")));
    const bar = make("i", "");
    bar.style.width = `${(100 * Math.log1p(total(row))) / Math.log1p(most)}%`;
    const made = make(
      "div", isLabel(row) ? "row" : "row tail",
      make("span", "rank", isLabel(row) ? number(row) : "–"), word,
      make("span", "kind", categoryOf(row)),
      make("span", "count", bar, make("b", "", number(total(row)))),
    );
    made.id = `row-${place}`;
    made.style.top = `${place * ROW}px`;
    made.setAttribute("role", "option");
    made.setAttribute("aria-selected", String(place === active));
    made.setAttribute("aria-posinset", String(place + 1));
    made.setAttribute("aria-setsize", String(rows.length));
    made.addEventListener("click", () => { activate(place); open(row); });
    return made;
  }

  /** Choose a row of the list and bring it into sight. */
  function activate(place) {
    if (!rows.length) return;
    active = Math.max(0, Math.min(rows.length - 1, place));
    const top = active * ROW;
    if (top < list.scrollTop) list.scrollTop = top;
    else if (top + ROW > list.scrollTop + list.clientHeight) list.scrollTop = top + ROW - list.clientHeight;
    render();
  }

  // ---- detail ----------------------------------------------------------------------------------------------------

  const link = (row) => {
    const made = make("a", isLabel(row) ? "" : "unlabelled", lemmas[row][0]);
    made.href = `#${wnid(row)}`;
    return made;
  };

  function section(title, ...content) {
    const made = make("section", "", make("h3", "", title), ...content);
    made.id = `detail-${title.split(" ")[0].toLowerCase()}`;
    return made;
  }

  function synsetList(all) {
    const sorted = [...all].sort((one, other) => total(other) - total(one));
    const count = (row) => (total(row) ? ` ${number(total(row))}` : "");
    const items = sorted.slice(0, SHOWN).map((row) => make("li", "", link(row), count(row)));
    if (sorted.length > SHOWN) items.push(make("li", "more", `and ${number(sorted.length - SHOWN)} more`));
    return make("ul", "synsets", ...items);
  }

  function state(row) {
    if (isLabel(row)) {
      const own = data.counts[row], all = data.totals[row];
      const counts = own === all ? "" : `, ${number(own)} its own and ${number(all - own)} rolled up into it`;
      return [make("b", "", `Label ${number(row)}`), `, ${number(all)} occurrences${counts}.`];
    }
    if (row >= listed) return ["No caption names it."];
    const count = `${number(data.counts[row])} occurrences`;
    if (isRolled(row)) return [make("b", "rolled", "Rolled up"), " into ", link(intoOf(row)), `: ${count}.`];
    const threshold = `τ = ${number(Number(about.tau))}`;
    const why = {
      [RARE]: about.prune === "rollup" ? `rare, and so is all above it that may be a label` : `rarer than ${threshold}`,
      [GENERAL]: "too general (min_depth, exclude)",
    }[intoOf(row)] ?? `not among the ${number(Number(about.top_k))} most frequent`;
    return [make("b", "", "Pruned"), `: ${count}, ${why}.`];
  }

  function captionsOf(row) {
    const own = (data.captions[row] ?? []).map((caption) => make("li", "", caption));
    // A label may be one only for what is rolled up into it.
    const others = own.length ? [] : (rolledInto.get(row) ?? []).slice(0, 3);
    const theirs = others.flatMap((other) => data.captions[other].slice(0, 1).map(
      (caption) => make("li", "", caption, " ", make("small", "", `(${lemmas[other][0]})`))));
    const all = [...own, ...theirs];
    return all.length ? make("ul", "captions", ...all) : make("p", "empty", "None.");
  }

  function show(row) {
    const path = [];
    for (let up = row; up >= 0; up = data.above[up]) path.unshift(up);
    const back = make("button", "", "← list");
    back.id = "back";
    back.addEventListener("click", close);
    const parts = [
      back,
      make("h2", "", lemmas[row].join(", ")),
      make("p", "names", make("code", "", name(row)), " · ", make("code", "", wnid(row)), ` · ${categoryOf(row)}`),
      make("p", "state", ...state(row)),
    ];
    if (data.glosses[row]) parts.push(make("p", "gloss", data.glosses[row]));
    const steps = path.map((up) => make("li", "", up === row ? lemmas[up][0] : link(up)));
    parts.push(section("Above it", make("ul", "path", ...steps)));
    parts.push(section("Captions that gave it", captionsOf(row)));
    if (rolledInto.has(row)) parts.push(section("Rolled up into it", synsetList(rolledInto.get(row))));
    if (below.has(row)) parts.push(section("Below it", synsetList(below.get(row))));
    detail.replaceChildren(...parts);
    detail.scrollTop = 0;
    document.body.classList.add("open");
  }

  /** Open a synset: the address names it, so that it can be sent, and the browser's back button works. */
  function open(row) {
    if (location.hash === `#${wnid(row)}`) show(row);
    else location.hash = wnid(row);
    if (narrow.matches) detail.focus();
  }

  /** Show the chosen row beside the list, without a step in the browser's history. */
  function preview() {
    if (narrow.matches || active < 0) return;
    history.replaceState(null, "", `#${wnid(rows[active])}`);
    show(rows[active]);
  }

  function close() {
    document.body.classList.remove("open");
    history.replaceState(null, "", location.pathname + location.search);
    list.focus();
  }

  function follow() {
    const row = rowOf.get(location.hash.slice(1));
    if (row !== undefined) show(row);
    else if (!location.hash) document.body.classList.remove("open");
  }

  // ---- keys ------------------------------------------------------------------------------------------------------

  const page = () => Math.max(1, Math.floor(list.clientHeight / ROW) - 1);
  const moves = {
    ArrowDown: () => active + 1, ArrowUp: () => active - 1,
    PageDown: () => active + page(), PageUp: () => active - page(),
  };
  const ends = { Home: () => 0, End: () => rows.length - 1 }; // in the search box these move the cursor

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const inSearch = document.activeElement === search;
    const inList = document.activeElement === list;
    const move = moves[event.key] ?? (inList ? ends[event.key] : undefined);
    if (event.key === "/" && !inSearch) {
      document.body.classList.remove("open");
      search.focus();
      search.select();
    } else if (event.key === "Escape") {
      if (document.body.classList.contains("open") && narrow.matches) close();
      else if (search.value) { search.value = ""; update(); }
      else return;
    } else if (move && (inSearch || inList)) {
      activate(move());
      preview();
    } else if (event.key === "Enter" && (inSearch || inList) && active >= 0) open(rows[active]);
    else return;
    event.preventDefault();
  });

  // ---- start -----------------------------------------------------------------------------------------------------

  function showFacts() {
    element("heading").textContent = document.title;
    const prune = [
      `τ = ${number(about.threshold)}`, about.prune === "rollup" ? "rolled up" : "",
      about.top_k ? `at most ${number(Number(about.top_k))}` : "",
      about.min_depth ? `from depth ${about.min_depth}` : "", about.exclude ? `without ${about.exclude}` : "",
    ].filter(Boolean).join(", ");
    const facts = [
      ["captions", number(Number(about.captions))], ["with a label", percent(about.covered)], ["pruning", prune],
      ["rule", `${about.rule}, tagger ${about.tagger}, sense ${about.sense}`], ["from", about.created_from],
      ["lexicon", about.lexicon],
    ];
    element("facts").replaceChildren(...facts.map(
      ([key, value]) => make("div", `fact-${key.split(" ")[0]}`, make("dt", "", key), make("dd", "", value)),
    ));
  }

  function showFilters() {
    const buttons = FILTERS.filter(([key, , , count]) => count || key === "labels").map(([key, text, , count]) => {
      const made = make("button", "", `${text} ${number(count)}`);
      made.type = "button";
      made.dataset.filter = key;
      made.setAttribute("role", "radio");
      made.setAttribute("aria-checked", String(key === filter));
      made.addEventListener("click", () => {
        filter = key;
        showFilters();
        update();
        if (!narrow.matches) search.focus(); // there it would bring up a keyboard
      });
      return made;
    });
    filters.replaceChildren(...buttons);
  }

  let waiting = false;
  const later = () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; render(); });
  };
  search.addEventListener("input", update);
  list.addEventListener("scroll", later, { passive: true });
  addEventListener("resize", later);
  addEventListener("hashchange", follow);
  showFacts();
  showFilters();
  update();
  if (rowOf.has(location.hash.slice(1))) follow();
  else if (!narrow.matches && labels) show(0);
})();
