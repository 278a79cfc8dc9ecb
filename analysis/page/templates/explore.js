// The explorer: sliders, a class, an order and an id choose among the examples that the page holds.
// What is chosen is in the address: #mem=0.25..1&infl=0.15&class=3, #view=test, #id=train_00017.
(() => {
  const data = JSON.parse(document.getElementById("examples").textContent);
  const { train, test, pairs, steps, units, lowest } = data;
  const perStep = units / steps;
  const FIRST = 24; // Cards that are drawn at once,
  const MORE = 120; // and for which a button asks.
  const NAMES = { mem: "memorization", infl: "influence", sort: "order", view: "view" };
  const TEST_ORDERS = ["infl", "carried"]; // Test examples have no memorization.
  const COLUMNS = 50; // Of the drawings above the sliders, at most.

  const allClasses = data.counts.reduce((sum, next) => sum.map((value, step) => value + next[step]));

  const section = document.getElementById("explore");
  const form = section.querySelector("form");
  const cards = section.querySelector(".cards");
  const status = section.querySelector(".status");
  const missing = section.querySelector(".missing");
  const folded = document.querySelectorAll("details.unreliable");
  const buttons = { some: section.querySelector(".some"), all: section.querySelector(".all") };
  const ranges = Object.fromEntries(
    [...form.querySelectorAll(".range")].map((field) => [
      field.dataset.quantity,
      {
        field,
        lowest: lowest[field.dataset.quantity],
        from: field.querySelector(".from"),
        to: field.querySelector(".to"),
      },
    ])
  );

  const said = (from, to) => (to < 1 ? `${number(from)} to ${number(to)}` : `≥ ${number(from)}`);

  // The state: what form and address say. Thresholds are in steps; `to` is exclusive below 1.
  const initial = () => ({
    mem: [Math.max(data.thresholds.mem, lowest.mem), steps],
    infl: [Math.max(data.thresholds.infl, lowest.infl), steps],
    label: null,
    sort: "infl",
    view: "train",
    id: "",
    withPairs: false,
    unreliable: false,
  });
  let state = initial();
  // What was asked for and cannot be shown, in sentences.
  const missed = (who, what, asked, shown) =>
    `${who} asks for ${what} ${asked}, which this page cannot show: it is ${shown} here.`;
  let misses = data.thresholds.infl < lowest.infl
    ? [missed("The report", NAMES.infl, said(data.thresholds.infl / steps, 1), said(lowest.infl / steps, 1))]
    : [];
  const fitting = (sort, view) => (view === "test" && !TEST_ORDERS.includes(sort) ? "infl" : sort);
  const option = (name, value) => [...form.elements[name].options].find((each) => each.value === value);
  // Pairs that there are too few trials for are hidden until they are asked for.
  const hidden = () => data.unreliable && !state.unreliable;

  const within = (value, [from, to]) =>
    value >= from * perStep && (to === steps || value < to * perStep);

  const readForm = (moved) => {
    for (const [quantity, range] of Object.entries(ranges)) {
      let [from, to] = [Number(range.from.value), Number(range.to.value)];
      // The thumb that is moved pushes the other one; an empty range there is not.
      if (from >= to && to < steps) {
        if (moved === range.to) from = Math.max(to - 1, range.lowest);
        to = Math.max(to, from + 1);
      }
      state[quantity] = [from, to];
    }
    const label = form.elements.class.value;
    state.label = label === "" ? null : Number(label);
    state.view = form.elements.view.value;
    state.sort = fitting(form.elements.sort.value, state.view);
    state.id = form.elements.id.value.trim();
    state.withPairs = form.elements.pairs.checked;
    if (data.unreliable) state.unreliable = form.elements.unreliable.checked;
    misses = [];
  };

  const writeForm = () => {
    for (const [quantity, range] of Object.entries(ranges)) {
      const [from, to] = state[quantity];
      const span = steps - range.lowest || 1;
      for (const [input, value] of [[range.from, from], [range.to, to]]) {
        input.min = range.lowest;
        input.max = steps;
        input.value = value;
        input.setAttribute("aria-valuetext", number(value / steps));
      }
      range.field.style.setProperty("--from", (from - range.lowest) / span);
      range.field.style.setProperty("--to", (to - range.lowest) / span);
      // Where both thumbs meet at the right end, the left one must be within reach.
      range.from.style.zIndex = from - range.lowest > span / 2 ? 1 : 0;
      range.field.querySelector("output").textContent = said(from / steps, to / steps);
    }
    form.elements.class.value = state.label === null ? "" : String(state.label);
    form.elements.view.value = state.view;
    for (const option of form.elements.sort.options)
      option.disabled = fitting(option.value, state.view) !== option.value;
    form.elements.sort.value = state.sort;
    if (form.elements.id.value.trim() !== state.id) form.elements.id.value = state.id;
    form.elements.pairs.checked = state.withPairs;
    form.elements.pairs.disabled = state.view === "test" || hidden();
    if (data.unreliable) form.elements.unreliable.checked = state.unreliable;
  };

  const address = (state) => {
    const words = ["mem", "infl"].map((quantity) => {
      const [from, to] = state[quantity].map((value) => value / steps);
      return `${quantity}=${from}${to < 1 ? `..${to}` : ""}`;
    });
    if (state.label !== null) words.push(`class=${state.label}`);
    if (state.sort !== "infl") words.push(`sort=${state.sort}`);
    if (state.view !== "train") words.push(`view=${state.view}`);
    if (state.withPairs) words.push("pairs=1");
    if (state.unreliable) words.push("unreliable=1");
    if (state.id) words.push(`id=${encodeURIComponent(state.id)}`);
    return `#${words.join("&")}`;
  };

  const readAddress = () => {
    if (!location.hash.includes("=")) return false;
    const words = new URLSearchParams(location.hash.slice(1));
    const next = initial();
    misses = [];
    for (const [quantity, range] of Object.entries(ranges)) {
      if (!words.has(quantity)) continue;
      const asked = words.get(quantity).split("..").map((end) => (end === "" ? NaN : Number(end)));
      if (asked.length === 1) asked.push(1);
      if (asked.length === 2 && !asked.some(Number.isNaN)) {
        const ends = asked.map((end) => Math.round(end * steps));
        const from = Math.min(Math.max(ends[0], range.lowest), steps);
        next[quantity] = [from, Math.min(Math.max(ends[1], from + 1), steps)];
      }
      const shown = next[quantity].map((end) => end / steps);
      // All memorization there is begins where its slider does.
      if (quantity === "mem") asked[0] = Math.max(asked[0], Math.min(shown[0], range.lowest / steps));
      if (asked.some((end, place) => !(Math.abs(Math.min(end, place ? 1 : end) - shown[place]) < 1e-9)))
        misses.push(missed("The address", NAMES[quantity], words.get(quantity), said(...shown)));
    }
    const label = words.get("class");
    if (/^\d+$/.test(label) && Number(label) < data.classes.length) next.label = Number(label);
    else if (label) misses.push(missed("The address", "class", label, "all"));
    for (const name of ["view", "sort"]) {
      if (!words.has(name)) continue;
      const known = option(name, words.get(name));
      if (known) next[name] = words.get(name);
      if (name === "sort") next.sort = fitting(next.sort, next.view);
      if (next[name] !== words.get(name)) misses.push(missed("The address", NAMES[name], words.get(name), option(name, next[name]).textContent));
    }
    next.id = (words.get("id") || "").trim();
    next.withPairs = words.get("pairs") === "1";
    next.unreliable = data.unreliable && words.get("unreliable") === "1";
    state = next;
    return true;
  };

  // Rows whose id is the one that is looked for, or else has it inside.
  const matching = (split) => {
    const rows = [...data[split].id.keys()];
    const inside = state.id.toLowerCase();
    return {
      exact: rows.filter((row) => data[split].id[row] === state.id),
      partial: rows.filter((row) => data[split].id[row].toLowerCase().includes(inside)),
    };
  };

  // For each training and each test example its pairs, the most influential first.
  const pairsOf = (accepted) => {
    const of = { train: new Map(), test: new Map() };
    for (const pair of accepted)
      for (const split of ["train", "test"]) {
        const row = pairs[split][pair];
        if (!of[split].has(row)) of[split].set(row, []);
        of[split].get(row).push(pair);
      }
    return of;
  };

  // The rows of a split in the order that is asked for.
  const ordered = (split, rows, lists) => {
    const most = (row) => (lists[split].has(row) ? pairs.infl[lists[split].get(row)[0]] : -Infinity);
    const size = (row) => (lists[split].has(row) ? lists[split].get(row).length : 0);
    const mem = (row) => (split === "train" ? train.mem[row] : 0);
    const errors = (row) => (split === "train" ? train.mem[row] / Math.max(train.se[row], 1) : 0);
    const descending = (key) => (a, b) => (key(a) === key(b) ? 0 : key(a) < key(b) ? 1 : -1);
    const order = {
      infl: [descending(most), descending(mem)],
      mem: [descending(mem)],
      mem_se: [descending(errors)],
      typical: [descending((row) => -mem(row))],
      carried: [descending(size), descending(most)],
    }[state.sort];
    const { index } = data[split];
    return rows.sort((a, b) => order.reduce((found, next) => found || next(a, b), 0) || index[a] - index[b]);
  };

  // What is chosen: examples with their pairs, and what is counted.
  const choose = () => {
    const ofClass = (row) => state.label === null || train.label[row] === state.label;
    const every = [...pairs.train.keys()];
    const memorized = every.filter((pair) =>
      ofClass(pairs.train[pair]) && within(train.mem[pairs.train[pair]], state.mem));
    const influential = (pair) => within(pairs.infl[pair], state.infl);
    const chosen = pairsOf(memorized.filter(influential));
    // An id that is looked for is shown whatever its memorization and class.
    let lists = state.id ? pairsOf(every.filter(influential)) : chosen;
    if (hidden()) lists = pairsOf([]);
    const rows = { train: [], test: [] };
    if (state.id) {
      const matches = { train: matching("train"), test: matching("test") };
      const exact = matches.train.exact.length + matches.test.exact.length > 0;
      for (const split of ["train", "test"]) rows[split] = matches[split][exact ? "exact" : "partial"];
    } else if (state.view === "test") rows.test = [...lists.test.keys()];
    else
      rows.train = [...train.mem.keys()].filter((row) =>
        ofClass(row) && within(train.mem[row], state.mem) &&
        (!state.withPairs || hidden() || lists.train.has(row)));
    const counts = state.label === null ? allClasses : data.counts[state.label];
    return {
      rows: [state.view, OTHER[state.view]].flatMap((split) =>
        ordered(split, rows[split], lists).map((row) => [split, row])),
      numbers: { train: rows.train.length, test: rows.test.length },
      lists,
      influences: memorized.map((pair) => pairs.infl[pair]),
      memCounts: counts,
      counts: {
        memorized: counts.reduce(
          (sum, value, step) => sum + (within((step + lowest.mem) * perStep, state.mem) ? value : 0), 0),
        pairs: memorized.filter(influential).length,
        train: chosen.train.size,
        test: chosen.test.size,
        single: [...chosen.test.values()].filter((list) => list.length === 1).length,
      },
    };
  };

  // The drawings above the sliders: bars of logarithmic height, strong where they are chosen.
  const drawBars = (range, values, chosen) => {
    const width = Math.max(1, Math.ceil(values.length / COLUMNS));
    const bars = range.field.querySelector(".bars");
    const sums = [];
    for (let start = 0; start < values.length; start += width)
      sums.push(values.slice(start, start + width).reduce((a, b) => a + b, 0));
    const highest = Math.log1p(Math.max(1, ...sums));
    bars.replaceChildren(
      ...sums.map((sum, index) => {
        const bar = element("i", within((range.lowest + index * width) * perStep, chosen) ? "in" : "");
        bar.style.height = `${sum ? Math.max(4, (100 * Math.log1p(sum)) / highest) : 0}%`;
        return bar;
      })
    );
  };

  const card = cardsOf(data, { addressOf: (id) => address({ ...state, id }), hidden });

  let found;
  const drawMore = (number) => {
    const start = cards.children.length;
    const rows = found.rows.slice(start, start + number);
    cards.append(...rows.map(([split, row]) => card(split, row, found.lists[split].get(row))));
    const left = found.rows.length - cards.children.length;
    buttons.some.hidden = left === 0;
    buttons.some.textContent = `Show ${count(Math.min(MORE, left))} more`;
    buttons.all.hidden = left <= MORE;
    buttons.all.textContent = `Show all ${count(found.rows.length)}`;
    return cards.children[start];
  };

  // What is said above the cards.
  const summary = () => {
    const { memorized } = found.counts;
    const many = ["train", "test"].filter((split) => found.numbers[split])
      .map((split) => plural(found.numbers[split], NOUN[split])).join(" and ");
    if (state.id) {
      if (many) return [`${many} found by id. Of the controls, influence and order matter here, not memorization and class.`];
      return [`No example on this page has “${state.id}” in its id. This command lists all examples by their ids: `,
        element("code", "", data.command)];
    }
    if (state.view === "test" && hidden())
      return ["Test examples are here for their pairs, and there are too few trials to rely on those."];
    let text = many || `No ${NOUN[state.view]} on this page has these values.`;
    if (many && state.view === "train" && (!state.withPairs || hidden()) && found.rows.length < memorized)
      text = `${many} of the ${count(memorized)} with this memorization: the others are not on this page`;
    if (lowest.pairs_mem > lowest.mem && state.mem[0] < lowest.pairs_mem)
      text += `${text.endsWith(".") ? "" : "."} Pairs are listed and counted from memorization ${number(lowest.pairs_mem / steps)} up.`;
    return [text];
  };

  let unfolded = false;
  const draw = () => {
    found = choose();
    writeForm();
    for (const place of form.querySelectorAll("[data-count]"))
      place.textContent = count(found.counts[place.dataset.count]);
    drawBars(ranges.mem, found.memCounts, state.mem);
    const influences = new Array(steps + 1 - lowest.infl).fill(0);
    for (const value of found.influences)
      influences[Math.min(Math.floor(value / perStep), steps) - lowest.infl]++;
    drawBars(ranges.infl, influences, state.infl);
    status.replaceChildren(...summary());
    missing.hidden = !misses.length;
    missing.textContent = misses.join(" ");
    if (state.unreliable !== unfolded) for (const part of folded) part.open = state.unreliable;
    unfolded = state.unreliable;
    cards.replaceChildren();
    drawMore(FIRST);
  };

  data.classes.forEach((name, label) => form.elements.class.append(new Option(name, label)));
  for (const range of Object.values(ranges)) {
    const ends = range.field.querySelectorAll(".ends span");
    ends[0].textContent = number(range.lowest / steps);
    ends[1].textContent = number(1);
  }
  // The other pictures of the page lead here too.
  for (const link of document.querySelectorAll("a[data-id]"))
    link.href = `#id=${encodeURIComponent(link.dataset.id)}`;
  // A drag moves a slider many times between two pictures on the screen.
  let waiting = false;
  form.addEventListener("input", (event) => {
    readForm(event.target);
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      draw();
    });
  });
  form.addEventListener("change", () => history.replaceState(null, "", address(state)));
  form.addEventListener("submit", (event) => event.preventDefault());
  form.querySelector(".reset").addEventListener("click", () => {
    state = { ...initial(), unreliable: state.unreliable };
    misses = [];
    draw();
    history.replaceState(null, "", address(state));
  });
  const showMore = (number) => {
    const first = drawMore(number);
    first.tabIndex = -1;
    first.focus({ preventScroll: true });
  };
  buttons.some.addEventListener("click", () => showMore(MORE));
  buttons.all.addEventListener("click", () => showMore(Infinity));
  // To an example that is looked for, and otherwise to the explorer.
  const goThere = () => {
    if (!state.id) return section.scrollIntoView();
    status.tabIndex = -1;
    status.focus({ preventScroll: true });
    status.scrollIntoView();
  };
  addEventListener("hashchange", () => {
    if (!readAddress()) return;
    draw();
    if (state.id) goThere();
  });

  section.querySelector(".explorer").hidden = false;
  const sent = readAddress();
  draw();
  if (sent) goThere();
})();
