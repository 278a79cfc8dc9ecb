// The explorer: sliders, a class and an order choose among the examples that the page holds.
// What is chosen is in the address: #mem=0.25..1&infl=0.15&class=3.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("examples").textContent);
  const { train, test, pairs, steps, units, lowest } = data;
  const perStep = units / steps;
  const FIRST = 24; // Cards that are drawn at once,
  const MORE = 120; // and for which a button asks.
  const TESTS = 12; // Test examples on a card, until a button asks for the others.
  const INTERVAL = 1.96; // Standard errors on either side that make an interval of 95%.
  const COLUMNS = 50; // Of the drawings above the sliders, at most.

  const allClasses = data.counts.reduce((sum, next) => sum.map((value, step) => value + next[step]));

  const section = document.getElementById("explore");
  const form = section.querySelector("form");
  const cards = section.querySelector(".cards");
  const status = section.querySelector(".status");
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

  // What is said.
  const number = (value, digits = 2) => {
    const text = value.toFixed(digits);
    return Number(text) === 0 ? text.replace("-", "") : text.replace("-", "−");
  };
  const count = (value) => value.toLocaleString("en-US");
  const plural = (value, noun) => `${count(value)} ${noun}${value === 1 ? "" : "s"}`;
  const percent = (share) => `${Math.round(100 * share)}%`;
  const interval = (value, error) => {
    const half = (INTERVAL * error) / units;
    const ends = [Math.max(value / units - half, -1), Math.min(value / units + half, 1)];
    return `${number(ends[0])} to ${number(ends[1])}`;
  };
  const element = (name, className, text) => {
    const made = document.createElement(name);
    if (className) made.className = className;
    if (text !== undefined) made.textContent = text;
    return made;
  };

  // The state: what form and address say. Thresholds are in steps; `to` is exclusive below 1.
  const initial = () => ({
    mem: [Math.max(data.thresholds.mem, lowest.mem), steps],
    infl: [Math.max(data.thresholds.infl, lowest.infl), steps],
    label: null,
    sort: "infl",
    withPairs: false,
  });
  let state = initial();

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
    state.sort = form.elements.sort.value;
    state.withPairs = form.elements.pairs.checked;
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
      range.field.querySelector("output").textContent =
        to === steps ? `≥ ${number(from / steps)}` : `${number(from / steps)} to ${number(to / steps)}`;
    }
    form.elements.class.value = state.label === null ? "" : String(state.label);
    form.elements.sort.value = state.sort;
    form.elements.pairs.checked = state.withPairs;
  };

  const address = () => {
    const words = ["mem", "infl"].map((quantity) => {
      const [from, to] = state[quantity].map((value) => value / steps);
      return `${quantity}=${from}${to < 1 ? `..${to}` : ""}`;
    });
    if (state.label !== null) words.push(`class=${state.label}`);
    if (state.sort !== "infl") words.push(`sort=${state.sort}`);
    if (state.withPairs) words.push("pairs=1");
    return `#${words.join("&")}`;
  };

  const readAddress = () => {
    if (!location.hash.includes("=")) return false;
    const words = new URLSearchParams(location.hash.slice(1));
    const next = initial();
    for (const [quantity, range] of Object.entries(ranges)) {
      if (!words.has(quantity)) continue;
      const ends = words.get(quantity).split("..").map((end) =>
        end === "" ? NaN : Math.round(Number(end) * steps));
      if (ends.some(Number.isNaN)) continue;
      const from = Math.min(Math.max(ends[0], range.lowest), steps);
      const to = Math.max(ends.length > 1 ? ends[1] : steps, from + 1);
      next[quantity] = [from, Math.min(to, steps)];
    }
    const label = words.get("class");
    if (/^\d+$/.test(label) && Number(label) < data.classes.length) next.label = Number(label);
    if ([...form.elements.sort.options].some((option) => option.value === words.get("sort")))
      next.sort = words.get("sort");
    next.withPairs = words.get("pairs") === "1";
    state = next;
    return true;
  };

  // What is chosen: training examples, and for each the pairs, the most influential first.
  const choose = () => {
    const ofClass = (row) => state.label === null || train.label[row] === state.label;
    const carried = new Map();
    const influencers = new Map();
    let numPairs = 0;
    const influences = [];
    for (let pair = 0; pair < pairs.train.length; pair++) {
      const row = pairs.train[pair];
      if (!ofClass(row) || !within(train.mem[row], state.mem)) continue;
      influences.push(pairs.infl[pair]);
      if (!within(pairs.infl[pair], state.infl)) continue;
      numPairs++;
      if (!carried.has(row)) carried.set(row, []);
      carried.get(row).push(pair);
      influencers.set(pairs.test[pair], (influencers.get(pairs.test[pair]) || 0) + 1);
    }
    const rows = [];
    for (let row = 0; row < train.mem.length; row++)
      if (ofClass(row) && within(train.mem[row], state.mem) && (!state.withPairs || carried.has(row)))
        rows.push(row);
    const most = (row) => (carried.has(row) ? pairs.infl[carried.get(row)[0]] : -Infinity);
    const size = (row) => (carried.has(row) ? carried.get(row).length : 0);
    const mem = (row) => train.mem[row];
    const descending = (key) => (a, b) => (key(a) === key(b) ? 0 : key(a) < key(b) ? 1 : -1);
    const orders = {
      infl: [descending(most), descending(mem)],
      mem: [descending(mem)],
      typical: [descending((row) => -mem(row))],
      carried: [descending(size), descending(most)],
    };
    const order = orders[state.sort];
    rows.sort((a, b) => order.reduce((found, next) => found || next(a, b), 0) || train.index[a] - train.index[b]);
    const counts = state.label === null ? allClasses : data.counts[state.label];
    const memorized = counts.reduce(
      (sum, value, step) => sum + (within((step + lowest.mem) * perStep, state.mem) ? value : 0), 0);
    return {
      rows,
      carried,
      influences,
      memCounts: counts,
      counts: {
        memorized,
        pairs: numPairs,
        train: carried.size,
        test: influencers.size,
        single: [...influencers.values()].filter((value) => value === 1).length,
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

  // One picture or, where there is none, the id.
  const picture = (split, row, name) => {
    const of = data[split];
    if (row >= data.pictured[split]) return element("span", "no-picture", of.id[row]);
    const made = element("span", `picture ${split}-${of.index[row]}`);
    made.setAttribute("role", "img");
    made.setAttribute("aria-label", name);
    return made;
  };
  const measured = (quantity, value, error) => {
    const made = element("span", "measured");
    made.append(element("b", quantity, number(value / units)));
    if (error !== undefined) made.append(element("span", "error", ` ± ${number(error / units, 3)}`));
    return made;
  };

  const testFigure = (pair, className) => {
    const row = pairs.test[pair];
    const name = `test example ${test.id[row]}, class ${className}`;
    const made = element("li", "carried");
    const error = pairs.se && pairs.se[pair];
    made.title = `${name}: influence ${number(pairs.infl[pair] / units, 3)}`;
    if (pairs.se) made.title += ` ± ${number(error / units, 3)}, 95%: ${interval(pairs.infl[pair], error)}`;
    made.append(measured("infl", pairs.infl[pair]), picture("test", row, name));
    if (pairs.se) made.append(element("span", "error", `± ${number(error / units, 3)}`));
    return made;
  };

  const card = (row, carried) => {
    const className = data.classes[train.label[row]];
    const made = element("li", "card example-card");
    const head = element("div", "train");
    const facts = element("div", "facts");
    const line = measured("mem", train.mem[row], train.se && train.se[row]);
    line.prepend("mem ");
    facts.append(line);
    if (train.se) facts.append(element("span", "error", `95%: ${interval(train.mem[row], train.se[row])}`));
    facts.append(element("span", "class", `class ${className}`), element("span", "ids", train.id[row]));
    head.append(picture("train", row, `training example ${train.id[row]}, class ${className}`), facts);
    made.append(head);
    if (train.in && train.in[row] && train.out[row]) {
      const out = train.heldout[row] / units;
      made.append(element("p", "rates", `right in ${percent(out + train.mem[row] / units)} of the ` +
        `${plural(train.in[row], "trial")} that saw it, ${percent(out)} of the ${count(train.out[row])} that did not`));
    }
    if (!carried) {
      const known = train.mem[row] >= lowest.pairs_mem * perStep;
      made.append(element("p", "rates", known ? "no test example with this influence"
        : `its test examples are not listed: memorization below ${number(lowest.pairs_mem / steps)}`));
      return made;
    }
    made.append(element("p", "carries", `carries ${plural(carried.length, "test example")}`));
    const list = element("ul", "tests");
    list.append(...carried.slice(0, TESTS).map((pair) => testFigure(pair, className)));
    made.append(list);
    if (carried.length > TESTS) {
      const rest = element("button", "rest", `and ${count(carried.length - TESTS)} more`);
      rest.type = "button";
      rest.addEventListener("click", () => {
        const others = carried.slice(TESTS).map((pair) => testFigure(pair, className));
        list.append(...others);
        rest.remove();
        others[0].tabIndex = -1;
        others[0].focus();
      });
      made.append(rest);
    }
    return made;
  };

  let found;
  const drawMore = (number) => {
    const start = cards.children.length;
    const rows = found.rows.slice(start, start + number);
    cards.append(...rows.map((row) => card(row, found.carried.get(row))));
    const left = found.rows.length - cards.children.length;
    buttons.some.hidden = left === 0;
    buttons.some.textContent = `Show ${count(Math.min(MORE, left))} more`;
    buttons.all.hidden = left <= MORE;
    buttons.all.textContent = `Show all ${count(found.rows.length)}`;
    return cards.children[start];
  };

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
    const { memorized } = found.counts;
    const here = plural(found.rows.length, "training example");
    let text = found.rows.length ? here : "No training example on this page has these values.";
    if (found.rows.length && !state.withPairs && found.rows.length < memorized)
      text = `${here} of the ${count(memorized)} with this memorization: the others are not on this page`;
    if (lowest.pairs_mem > lowest.mem && state.mem[0] < lowest.pairs_mem)
      text += `${text.endsWith(".") ? "" : "."} Pairs are listed and counted from memorization ${number(lowest.pairs_mem / steps)} up.`;
    status.textContent = text;
    cards.replaceChildren();
    drawMore(FIRST);
  };

  data.classes.forEach((name, label) => form.elements.class.append(new Option(name, label)));
  for (const range of Object.values(ranges)) {
    const ends = range.field.querySelectorAll(".ends span");
    ends[0].textContent = number(range.lowest / steps);
    ends[1].textContent = number(1);
  }
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
  form.addEventListener("change", () => history.replaceState(null, "", address()));
  form.addEventListener("submit", (event) => event.preventDefault());
  form.querySelector(".reset").addEventListener("click", () => {
    state = initial();
    draw();
    history.replaceState(null, "", address());
  });
  const showMore = (number) => {
    const first = drawMore(number);
    first.tabIndex = -1;
    first.focus({ preventScroll: true });
  };
  buttons.some.addEventListener("click", () => showMore(MORE));
  buttons.all.addEventListener("click", () => showMore(Infinity));
  addEventListener("hashchange", () => readAddress() && draw());

  section.querySelector(".explorer").hidden = false;
  const sent = readAddress();
  draw();
  if (sent) section.scrollIntoView();
})();
