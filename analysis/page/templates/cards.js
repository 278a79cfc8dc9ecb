// The cards of the explorer, and how numbers and examples are said.
"use strict";
const OTHER = { train: "test", test: "train" };
const NOUN = { train: "training example", test: "test example" };

const number = (value, digits = 2) => {
  const text = value.toFixed(digits);
  return Number(text) === 0 ? text.replace("-", "") : text.replace("-", "−");
};
const count = (value) => value.toLocaleString("en-US");
const plural = (value, noun) => `${count(value)} ${noun}${value === 1 ? "" : "s"}`;
const percent = (share) => `${Math.round(100 * share)}%`;
const element = (name, className, text) => {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
};

// Returns the function that makes a card of an example (its split and row) and its pairs, if any.
// `addressOf` is what leads to an id, and `hidden` says whether pairs are left out.
const cardsOf = (data, { addressOf, hidden }) => {
  const { train, pairs, units, steps, lowest } = data;
  const LISTED = 12; // Examples on a card beside its own, until a button asks for the others.
  const INTERVAL = 1.96; // Standard errors on either side that make an interval of 95%.
  const perStep = units / steps;

  const interval = (value, error) => {
    const half = (INTERVAL * error) / units;
    const ends = [Math.max(value / units - half, -1), Math.min(value / units + half, 1)];
    return `${number(ends[0])} to ${number(ends[1])}`;
  };
  const shortened = (id) => (id.length > data.longest_id ? `…${id.slice(1 - data.longest_id)}` : id);
  const named = (split, row) =>
    `${NOUN[split]} ${data[split].id[row]}, class ${data.classes[data[split].label[row]]}`;

  // One picture or, where there is none, the id; it leads to what the page has of that example.
  const picture = (split, row) => {
    const id = data[split].id[row];
    const uri = data.pictures[split][row];
    const made = element("a", uri ? "" : "no-picture", uri ? undefined : shortened(id));
    made.href = addressOf(id);
    if (uri) {
      const image = element("img", "picture");
      image.src = uri;
      image.alt = named(split, row);
      made.append(image);
    } else if (shortened(id) !== id) made.classList.add("cut");
    return made;
  };
  const measured = (quantity, value, error) => {
    const made = element("span", "measured");
    made.append(element("b", quantity, number(value / units)));
    if (error !== undefined) made.append(element("span", "error", ` ± ${number(error / units, 3)}`));
    return made;
  };

  // The other example of a pair.
  const partner = (split, pair) => {
    const row = pairs[split][pair];
    const made = element("li", "carried");
    made.title = `${named(split, row)}: influence ${number(pairs.infl[pair] / units, 3)}`;
    made.append(measured("infl", pairs.infl[pair]), picture(split, row));
    if (pairs.se) {
      const error = pairs.se[pair];
      made.title += ` ± ${number(error / units, 3)}, 95%: ${interval(pairs.infl[pair], error)}`;
      made.append(element("span", "error", `± ${number(error / units, 3)}`));
    }
    if (split === "train") {
      const memorization = measured("mem", train.mem[row]);
      memorization.prepend("mem ");
      made.append(memorization);
      if (train.se) made.append(element("span", "error", `± ${number(train.se[row] / units, 3)}`));
    }
    made.append(element("span", "name", shortened(data[split].id[row])));
    return made;
  };

  // What is said of an example beside its picture.
  const facts = (split, row) => {
    const made = element("div", "facts");
    if (split === "train") {
      const line = measured("mem", train.mem[row], train.se && train.se[row]);
      line.prepend("mem ");
      made.append(line);
      if (train.se) made.append(element("span", "error", `95%: ${interval(train.mem[row], train.se[row])}`));
    } else made.append(element("span", "kind", NOUN.test));
    const { id, label } = data[split];
    made.append(element("span", "class", `class ${data.classes[label[row]]}`), element("span", "ids", id[row]));
    return made;
  };

  // How often a training example is right, and what it is called without it.
  const rates = (row) => {
    const made = [];
    if (train.in && train.in[row] && train.out[row]) {
      const out = train.heldout[row] / units;
      made.push(element("p", "rates", `right in ${percent(out + train.mem[row] / units)} of the ` +
        `${plural(train.in[row], "trial")} that saw it, ${percent(out)} of the ${count(train.out[row])} that did not`));
    }
    if (train.called && train.called[row] >= 0) {
      const line = element("p", "rates called", "left out, it is called ");
      const differs = train.called[row] !== train.label[row];
      line.append(element(differs ? "b" : "span", "", data.classes[train.called[row]]),
        ` (${percent(train.votes[row] / units)})`);
      made.push(line);
    }
    return made;
  };

  // Why a card has no other examples on it.
  const without = (split, row) => {
    if (hidden()) return `its ${NOUN[OTHER[split]]}s are hidden: there are too few trials to rely on them`;
    if (split === "train" && train.mem[row] < lowest.pairs_mem * perStep)
      return `its test examples are not listed: memorization below ${number(lowest.pairs_mem / steps)}`;
    return `no ${NOUN[OTHER[split]]} with this influence`;
  };

  const card = (split, row, list) => {
    const made = element("li", `card example-card of-${split}`);
    const head = element("div", "train");
    head.append(picture(split, row), facts(split, row));
    made.append(head);
    if (split === "train") made.append(...rates(row));
    if (!list) {
      made.append(element("p", "rates", without(split, row)));
      return made;
    }
    const verb = split === "train" ? "carries" : "carried by";
    made.append(element("p", "carries", `${verb} ${plural(list.length, NOUN[OTHER[split]])}`));
    const partners = element("ul", "tests");
    partners.append(...list.slice(0, LISTED).map((pair) => partner(OTHER[split], pair)));
    made.append(partners);
    if (list.length > LISTED) {
      const rest = element("button", "rest", `and ${count(list.length - LISTED)} more`);
      rest.type = "button";
      rest.addEventListener("click", () => {
        const others = list.slice(LISTED).map((pair) => partner(OTHER[split], pair));
        partners.append(...others);
        rest.remove();
        others[0].tabIndex = -1;
        others[0].focus();
      });
      made.append(rest);
    }
    return made;
  };

  return card;
};
