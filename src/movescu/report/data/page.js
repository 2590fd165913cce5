"use strict";
// The page of a run: a static one has its data in #data; a live one gets them, and their changes, as server-sent events.
// Text from outside reaches the document through text() alone.
(() => {
  const PAGE = 200; // entries that are shown at once
  const STATES = {
    "running": ["▶", "odd"], "postponed": ["⏸", "odd"], "failed": ["✗", "bad"], "partial": ["◐", "bad"],
    "waiting": ["…", "mute"], "not found": ["∅", "odd"], "not started": ["…", "mute"], "complete": ["✓", "good"], "complete before": ["✓", "good"],
  };
  const ENDS = ["complete", "complete before", "partial", "not found", "failed", "not started"];
  const GOOD = ["complete", "complete before"];
  const $ = (id) => document.getElementById(id);
  const order = new Intl.Collator("en", { numeric: true });

  // -- the document ---------------------------------------------------------------------------------------------------

  // Controls, blanks without width, and marks of direction could make a text look like another one.
  const HIDDEN = /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u115f\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/u;

  function text(value, kind = "") {
    const made = document.createElement("span");
    made.className = kind ? `foreign ${kind}` : "foreign";
    let plain = "";
    for (const character of String(value)) {
      if (!HIDDEN.test(character)) { plain += character; continue; }
      made.append(plain);
      plain = "";
      const code = character.codePointAt(0).toString(16).toUpperCase().padStart(4, "0");
      made.append(node("span", { class: "hidden-character" }, `U+${code}`));
    }
    made.append(plain);
    return made;
  }

  function node(name, attributes = {}, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
      else if (value === true) made.setAttribute(key, "");
      else if (value !== false && value !== null && value !== undefined) made.setAttribute(key, value);
    }
    made.append(...children.filter((child) => child !== null && child !== undefined));
    return made;
  }

  const button = (words, onclick, attributes = {}) => node("button", { type: "button", onclick, ...attributes }, words);

  // -- quantities -----------------------------------------------------------------------------------------------------

  const number = (value) => Math.round(value).toLocaleString("en");
  const many = (value, one, several = `${one}s`) => `${number(value)} ${value === 1 ? one : several}`;

  function size(value) {
    const units = ["B", "kB", "MB", "GB", "TB"];
    let unit = 0;
    while (value >= 999.5 && unit < 4) { value /= 1000; unit += 1; }
    return `${unit === 0 || value >= 99.95 ? value.toFixed(0) : value.toFixed(value >= 9.995 ? 1 : 2)} ${units[unit]}`;
  }

  function duration(seconds) {
    if (seconds < 60) return `${seconds.toFixed(1)} s`;
    const whole = Math.round(seconds), hours = Math.floor(whole / 3600), two = (n) => String(n).padStart(2, "0");
    const minutes = Math.floor(whole / 60) % 60;
    return hours ? `${hours}:${two(minutes)}:${two(whole % 60)} h` : `${minutes}:${two(whole % 60)} min`;
  }

  function moment(value) {
    const date = new Date(value);
    const two = (n) => String(n).padStart(2, "0");
    return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} `
      + `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
  }

  const day = (value) => /^\d{8}$/.test(value) ? `${value.slice(0, 4)}-${value.slice(4, 6)}-${value.slice(6)}` : value;

  // -- the data -------------------------------------------------------------------------------------------------------

  let report = {}, extra = {}, entries = [], byRow = new Map(), seriesOf = new Map(), missingOf = new Map();
  let ended = true; // whether the run has

  function load(data) {
    report = data.report;
    extra = data.page;
    entries = report.entries;
    byRow = new Map(entries.map((entry) => [entry.row, entry]));
    group();
    ended = !extra.live;
  }

  function group() {
    seriesOf = new Map();
    for (const series of report.series || []) {
      const row = series.row ?? 1;
      if (!seriesOf.has(row)) seriesOf.set(row, []);
      seriesOf.get(row).push(series);
    }
    missingOf = new Map((report.missing_objects || []).map((one) => [one.row, one.sop_instance_uids]));
    for (const entry of entries) delete entry.words;
  }

  const labelsOf = (series) => extra.labels?.[series.series_instance_uid] || {};
  const here = (entry) => (entry.stored || 0) + (entry.already_there || 0);
  const reasonOf = (entry) => report.reasons?.[entry.reason];

  function keysOf(entry) {
    const keys = Object.entries(entry.keys || {}).filter(([name]) => name !== "QueryRetrieveLevel");
    return [...keys, ...Object.entries(entry.columns || {})].map(([, value]) => value).filter(Boolean).join(", ");
  }

  function patientOf(entry) {
    const labels = (seriesOf.get(entry.row) || []).map(labelsOf).find((one) => one.patient || one.date || one.study || one.modality);
    if (!labels) return "";
    return [labels.patient, labels.id, labels.date && day(labels.date), labels.study].filter(Boolean).join(" · ");
  }

  function modalities(entry) {
    return [...new Set((seriesOf.get(entry.row) || []).map((one) => labelsOf(one).modality).filter(Boolean))].sort().join(", ");
  }

  function whyOf(entry) {
    if (!entry.reason) return entry.same_as ? `same request as entry ${entry.same_as}` : errorOf(entry);
    const words = reasonOf(entry)?.words || entry.reason;
    return entry.status ? `${words} (${entry.status})` : words;
  }

  const errorOf = (entry) => entry.detail !== undefined ? entry.detail : entry.error === undefined ? "" : report.errors?.[entry.error] || "";

  const COLUMNS = [
    ["row", "Entry", (entry) => entry.row, "number"],
    ["state", "State", (entry) => Object.keys(STATES).indexOf(entry.state), ""],
    ["keys", "Requested", keysOf, "long"],
    ["patient", "Received", (entry) => [modalities(entry), patientOf(entry)].filter(Boolean).join(" · "), "long"],
    ["here", "Objects", here, "number"],
    ["missing", "Missing", (entry) => entry.missing || 0, "number"],
    ["failed", "Not stored", (entry) => entry.failed || 0, "number"],
    ["size", "Size", (entry) => entry.size || 0, "number"],
    ["seconds", "Time", (entry) => entry.seconds || 0, "number"],
    ["attempts", "Attempts", (entry) => entry.attempts || 0, "number"],
    ["why", "Reason", whyOf, "long"],
  ];

  function wordsOf(entry) {
    entry.words ??= [
      entry.row, entry.state, keysOf(entry), ...(entry.studies || []), patientOf(entry), modalities(entry), whyOf(entry), errorOf(entry),
      ...(seriesOf.get(entry.row) || []).map((one) => `${one.series_instance_uid} ${labelsOf(one).series || ""}`),
    ].join("\n").toLowerCase();
    return entry.words;
  }

  // -- the head -------------------------------------------------------------------------------------------------------

  function countsNow() {
    const counts = {};
    for (const entry of entries) counts[entry.state] = (counts[entry.state] || 0) + 1;
    return counts;
  }

  function sentenceOf(counts) {
    const total = entries.length, good = (counts["complete"] || 0) + (counts["complete before"] || 0);
    const rest = Object.keys(STATES).filter((state) => !GOOD.includes(state) && counts[state]).map((state) => `${number(counts[state])} ${state}`).join(", ");
    if (!ended) {
      const done = ENDS.reduce((sum, state) => sum + (counts[state] || 0), 0);
      return `${extra.run?.cancelled ? "Being cancelled" : extra.run?.paused ? "Paused" : "Running"}: ${number(done)} of ${many(total, "entry", "entries")} ended, ${number(good)} complete`;
    }
    const verb = { "complete": "Complete", "not found": "Not found", "failed": "Failed", "cancelled": "Cancelled", "incomplete": "Incomplete" }[report.outcome] || report.outcome;
    if (report.counts && extra.listed) {
      if (report.outcome === "complete") return total === 1 ? "Complete: the entry is here" : `Complete: all ${many(total, "entry", "entries")} are here`;
      return `${verb}: ${number(good)} of ${many(total, "entry", "entries")} complete; ${rest}`;
    }
    const told = [many((report.stored || 0) + (report.already_there || 0), "object")];
    if (report.missing) told.push(`${number(report.missing)} missing`);
    if (report.failed) told.push(`${number(report.failed)} not stored`);
    const words = reasonOf(entries[0])?.words;
    if (words) told[told.length - 1] += `; ${words}`;
    return `${verb}: ${told.join(", ")}${report.outcome === "complete" && report.verified ? ", compared with the archive's list" : ""}`;
  }

  function drawHead() {
    const counts = countsNow(), archive = report.archive || {};
    const sentence = sentenceOf(counts);
    $("sentence").replaceChildren(text(sentence));
    document.title = `${sentence} (movescu)`;
    const from = [`From ${archive.called_ae_title} (${archive.host}${archive.port ? ` port ${archive.port}` : ""}) to ${archive.move_destination}`];
    if (!extra.pseudonymised && report.begun) from.push(moment(report.begun));
    if (extra.pseudonymised) from.push("pseudonymised");
    $("origin").replaceChildren(text(from.join(", ")));
    const listed = extra.listed;
    const tell = [];
    if (listed) for (const state of ENDS.filter((one) => ended || one !== "not started")) tell.push([number(counts[state] || 0), state, counts[state] ? STATES[state][1] : "zero"]);
    const { stored, size: bytes } = report;
    tell.push([number(stored || 0), "objects stored", ""]);
    if (report.already_there) tell.push([number(report.already_there), "already here", ""]);
    if (report.missing || !listed) tell.push([number(report.missing || 0), "missing", report.missing ? "bad" : "zero"]);
    if (report.failed || !listed) tell.push([number(report.failed || 0), "not stored", report.failed ? "bad" : "zero"]);
    tell.push([size(bytes || 0), "received", ""], [duration(report.seconds || 0), "time", ""]);
    if (report.seconds > 0) tell.push([`${size((bytes || 0) / report.seconds)}/s`, "on average", ""]);
    $("numbers").replaceChildren(...tell.map(([value, words, kind]) => node("li", { class: kind || false }, node("b", {}, value), words)));
  }

  // -- failures -------------------------------------------------------------------------------------------------------

  const quoted = (cells) => `${cells.map((cell) => `"${String(cell).replaceAll('"', '""')}"`).join(",")}\n`;

  function listOf(wanted) {
    const names = [...new Set(entries.flatMap((entry) => Object.keys(entry.keys || {})))];
    const columns = [...new Set(entries.flatMap((entry) => Object.keys(entry.columns || {})))];
    const lines = wanted.map((entry) => quoted([...names.map((name) => entry.keys?.[name] ?? ""), ...columns.map((name) => entry.columns?.[name] ?? "")]));
    return quoted([...names, ...columns]) + lines.join("");
  }

  function save(name, words) {
    const address = URL.createObjectURL(new Blob([words], { type: "text/csv;charset=utf-8" }));
    const link = node("a", { href: address, download: name });
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(address), 60000);
  }

  function drawFailures() {
    const bad = entries.filter((entry) => ENDS.includes(entry.state) && !GOOD.includes(entry.state));
    $("failures").hidden = !bad.length;
    const groups = new Map();
    for (const entry of bad) {
      const key = entry.reason || entry.state;
      if (!groups.has(key)) groups.set(key, []);
      groups.get(key).push(entry);
    }
    const sorted = [...groups].sort(([, one], [, other]) => other.length - one.length);
    const again = extra.listed && !extra.pseudonymised;
    $("reasons").replaceChildren(...sorted.map(([key, group]) => {
      const cause = report.reasons?.[key];
      const states = Object.entries(Object.groupBy ? Object.groupBy(group, (one) => one.state) : { [group[0].state]: group });
      const details = [...new Set(group.map(errorOf).filter(Boolean))];
      return node("li", { class: cause && !cause.passing ? "lasting" : false },
        node("h3", {}, text(`${many(group.length, "entry", "entries")}: ${cause?.words || key}`)),
        node("p", { class: "faint" }, text([states.map(([state, some]) => `${some.length} ${state}`).join(", "),
          cause ? `most likely at fault: ${cause.fault}` : "", cause ? (cause.passing ? "may pass by itself" : "will recur until it is fixed") : ""].filter(Boolean).join("; "))),
        cause?.advice ? node("p", {}, node("strong", {}, "What to do: "), text(cause.advice)) : null,
        details.length ? node("p", { class: "faint" }, text(details.slice(0, 3).join("; ") + (details.length > 3 ? ` … and ${details.length - 3} more` : ""))) : null,
        node("p", {}, button("Show these entries", () => { filterBy({ reason: key, states: [] }); $("entries").scrollIntoView(); focusRow(0); }), " ",
          again ? button("Save them as a list", () => save(`${key}.csv`, listOf(group))) : null));
    }));
    $("again").replaceChildren();
    if (bad.length && again) {
      $("again").append(button("Save all of these as a list", () => save("again.csv", listOf(bad)), { id: "save-again" }),
        " Run them again: the same command with --list again.csv --resume");
    }
  }

  // -- entries --------------------------------------------------------------------------------------------------------

  let sorting = { column: "row", descending: false }, most = PAGE, chosen = [], current = 0;
  const open = new Set(), drawn = new Map(); // row -> its lines in the table

  function drawColumns() {
    $("columns").replaceChildren(...COLUMNS.map(([name, words, , kind]) => node("th", {
      role: "columnheader", scope: "col", class: kind === "number" ? "number" : false,
      "aria-sort": sorting.column === name ? (sorting.descending ? "descending" : "ascending") : "none",
    }, button(words, () => sortBy(name), { "data-column": name }))));
  }

  function sortBy(name) {
    sorting = { column: name, descending: sorting.column === name ? !sorting.descending : false };
    for (const heading of $("columns").children) {
      const own = heading.firstChild.dataset.column === name;
      heading.setAttribute("aria-sort", own ? (sorting.descending ? "descending" : "ascending") : "none");
    }
    most = PAGE;
    choose();
  }

  function filterBy({ words, reason, states }) {
    if (words !== undefined) $("words").value = words;
    if (reason !== undefined) $("reason").value = reason;
    if (states !== undefined) for (const box of $("states").querySelectorAll("input")) box.checked = states.includes(box.value);
    most = PAGE;
    choose();
  }

  function drawFilter() {
    const counts = countsNow();
    const before = new Set([...$("states").querySelectorAll("input:checked")].map((box) => box.value));
    const known = [...$("states").querySelectorAll("input")].map((box) => box.value).join();
    const states = Object.keys(STATES).filter((state) => counts[state]);
    if (known !== states.join()) {
      $("states").replaceChildren(node("legend", {}, "States"), ...states.map((state) => node("label", {},
        node("input", { type: "checkbox", value: state, onchange: () => { most = PAGE; choose(); } }), ` ${state} (`, node("span", {}), ")")));
      for (const box of $("states").querySelectorAll("input")) box.checked = before.has(box.value);
    }
    for (const box of $("states").querySelectorAll("input")) box.nextElementSibling.textContent = number(counts[box.value] || 0);
    const reasons = [...new Set(entries.map((entry) => entry.reason).filter(Boolean))].sort();
    const now = [...$("reason").options].slice(1).map((option) => option.value);
    if (now.join() !== reasons.join()) {
      const value = $("reason").value;
      $("reason").replaceChildren(node("option", { value: "" }, "any"), ...reasons.map((reason) => node("option", { value: reason }, text(report.reasons?.[reason]?.words || reason).textContent)));
      $("reason").value = reasons.includes(value) ? value : "";
    }
  }

  function choose() {
    const words = $("words").value.toLowerCase().split(/\s+/).filter(Boolean), reason = $("reason").value;
    const states = new Set([...$("states").querySelectorAll("input:checked")].map((box) => box.value));
    chosen = entries.filter((entry) => (!states.size || states.has(entry.state)) && (!reason || entry.reason === reason)
      && words.every((word) => wordsOf(entry).includes(word)));
    const value = COLUMNS.find(([name]) => name === sorting.column)[2];
    const keyed = chosen.map((entry) => [value(entry), entry]);
    const compare = keyed.length && typeof keyed[0][0] === "number" ? (one, other) => one[0] - other[0] : (one, other) => order.compare(one[0], other[0]);
    keyed.sort((one, other) => compare(one, other) || one[1].row - other[1].row);
    chosen = keyed.map(([, entry]) => entry);
    if (sorting.descending) chosen.reverse();
    drawRows();
  }

  function drawRows() {
    const wanted = [];
    for (const entry of chosen.slice(0, most)) {
      const lines = linesOf(entry);
      wanted.push(lines.main);
      if (open.has(entry.row)) wanted.push(lines.details ??= detailsOf(entry));
    }
    const focused = document.activeElement?.closest?.("#rows") ? document.activeElement : null;
    const now = $("rows").children;
    if (now.length !== wanted.length || wanted.some((line, index) => now[index] !== line)) $("rows").replaceChildren(...wanted);
    if (focused && focused.isConnected) focused.focus({ preventScroll: true });
    current = Math.min(current, Math.max(Math.min(chosen.length, most) - 1, 0));
    const left = chosen.length - most;
    $("more").replaceChildren(...(left > 0 ? [button(`Show ${number(Math.min(left, PAGE))} more of ${number(left)}`, showMore, { id: "show-more" })] : []));
    $("shown").textContent = chosen.length === entries.length ? many(entries.length, "entry", "entries") : `${number(chosen.length)} of ${many(entries.length, "entry", "entries")}`;
  }

  function showMore() {
    most += PAGE;
    drawRows();
  }

  function linesOf(entry) {
    let lines = drawn.get(entry.row);
    if (!lines) {
      lines = { main: node("tr", { class: "entry", role: "row" }), details: null, of: null };
      lines.main.addEventListener("click", (event) => { if (!event.target.closest("button, a, input") && !String(getSelection())) toggle(entry.row); });
      drawn.set(entry.row, lines);
    }
    if (lines.of !== entry) {
      lines.of = entry;
      lines.details = null;
      const focused = lines.main.contains(document.activeElement);
      lines.main.replaceChildren(...COLUMNS.map((column) => cellOf(entry, column)));
      if (focused) lines.main.querySelector(".opener").focus({ preventScroll: true });
    }
    return lines;
  }

  function cellOf(entry, [name, label, value, kind]) {
    if (name === "row") {
      const opener = button(String(entry.row), () => toggle(entry.row), {
        class: "opener", "aria-expanded": String(open.has(entry.row)), "aria-label": `Entry ${entry.row}, ${entry.state}`,
        onfocus: () => { current = chosen.indexOf(byRow.get(entry.row)); },
      });
      return node("td", { role: "cell", class: "number" }, opener);
    }
    if (name === "state") {
      const [sign, color] = STATES[entry.state] || ["", ""];
      return node("td", { role: "cell", class: `state ${color}` }, node("span", { "aria-hidden": "true" }, `${sign} `), text(entry.state));
    }
    const told = value(entry);
    const words = kind !== "number" ? told : !told ? "" : name === "size" ? size(told) : name === "seconds" ? duration(told) : number(told);
    const of = name === "here" && entry.needed !== undefined && !ENDS.includes(entry.state) ? ` of ${number(entry.needed)}` : "";
    return node("td", { role: "cell", class: `${kind}${words || of ? "" : " empty"}`, "data-label": label }, words || of ? text((words || "0") + of) : "");
  }

  function toggle(row) {
    const lines = drawn.get(row);
    if (open.delete(row)) lines.details?.remove();
    else {
      open.add(row);
      lines.details ??= detailsOf(byRow.get(row));
      lines.main.after(lines.details);
    }
    lines.main.classList.toggle("open", open.has(row));
    lines.main.querySelector(".opener").setAttribute("aria-expanded", String(open.has(row)));
  }

  function detailsOf(entry) {
    const told = [];
    const cause = reasonOf(entry);
    for (const [name, value] of Object.entries({ ...entry.keys, ...entry.columns })) told.push([name, value]);
    if ((entry.studies || []).length) told.push([entry.studies.length === 1 ? "Study" : "Studies", entry.studies.join(", ")]);
    if (entry.reason) told.push(["Reason", whyOf(entry)]);
    if (errorOf(entry)) told.push(["Error", errorOf(entry)]);
    if (cause?.advice) told.push(["What to do", cause.advice]);
    if (entry.already_there) told.push(["Already here", number(entry.already_there)]);
    if (entry.same_as) told.push(["Requested as", `entry ${entry.same_as}`]);
    const list = node("dl", {}, ...told.flatMap(([name, value]) => [node("dt", {}, text(name)), node("dd", {}, text(value))]));
    const cell = node("td", { role: "cell", colspan: COLUMNS.length }, list);
    if (!ended && extra.controls && ENDS.includes(entry.state) && !GOOD.includes(entry.state)) cell.append(node("p", {}, button("Retry this entry", () => order_("retry", entry.row), { class: "retry" })));
    const series = seriesOf.get(entry.row) || [];
    if (series.length) cell.append(tableOf(series));
    const missing = missingOf.get(entry.row) || [];
    if (missing.length) {
      const all = entry.missing || missing.length;
      cell.append(node("h3", {}, many(all, "missing object")), node("ul", { class: "uids", tabindex: "0", "aria-label": "Missing objects" },
        ...missing.slice(0, 1000).map((uid) => node("li", {}, text(uid))),
        ...(all > missing.length ? [node("li", {}, `and ${number(all - missing.length)} more`)] : [])));
    }
    if (!series.length && !missing.length && !told.length) cell.append(node("p", { class: "faint" }, "Nothing further is known."));
    return node("tr", { class: "details", role: "row" }, cell);
  }

  function tableOf(series) {
    const pictures = extra.thumbnails;
    const heads = [...(pictures ? ["Picture"] : []), "Modality", "No.", "Series", "Objects", "Not stored", "Size", "Time"];
    return node("table", {}, node("caption", { class: "faint" }, many(series.length, "series", "series")),
      node("thead", {}, node("tr", {}, ...heads.map((words) => node("th", { scope: "col" }, words)))),
      node("tbody", {}, ...series.map((one) => {
        const labels = labelsOf(one), picture = pictures?.[one.series_instance_uid];
        return node("tr", {},
          ...(pictures ? [node("td", {}, pictureOf(picture, labels))] : []),
          node("td", {}, text(labels.modality || "")),
          node("td", { class: "number" }, text(labels.number || "")),
          node("td", {}, labels.series ? text(labels.series) : "", node("div", {}, text(one.series_instance_uid, "uid"))),
          node("td", { class: "number" }, number(one.stored)), node("td", { class: "number" }, one.failed ? number(one.failed) : ""),
          node("td", { class: "number" }, size(one.size)), node("td", { class: "number" }, duration(one.seconds)));
      })));
  }

  function pictureOf(picture, labels) {
    if (picture?.image) return node("img", { class: "thumbnail", src: picture.image, width: picture.width, height: picture.height, alt: `Middle image of ${labels.series || "the series"}` });
    return node("div", { class: "placeholder" }, text(picture?.why || "no picture"));
  }

  function focusRow(index) {
    if (index >= most && index < chosen.length) showMore();
    const entry = chosen[Math.max(0, Math.min(index, chosen.length - 1))];
    if (!entry) return;
    current = chosen.indexOf(entry);
    const opener = drawn.get(entry.row)?.main.querySelector(".opener");
    opener?.focus();
    drawn.get(entry.row)?.main.scrollIntoView({ block: "nearest" });
  }

  // -- plots ----------------------------------------------------------------------------------------------------------

  let plots = [];

  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  function cumulated(values) {
    let sum = 0;
    return values.map((value) => (sum += value));
  }

  function drawPlots() {
    const line = extra.timeline;
    for (const plot of plots) plot.destroy();
    plots = [];
    if (!line || !line.objects.length) { $("plots").replaceChildren(node("p", { class: "faint" }, "Nothing was received.")); return; }
    const ink = color("--ink"), faint = color("--line"), times = line.objects.map((_, index) => (index + 1) * line.step);
    const axis = (more) => ({ stroke: ink, grid: { stroke: faint, width: 1 }, ticks: { stroke: faint, width: 1 }, ...more });
    const clock = axis({ values: (_, ticks) => ticks.map((tick) => duration(tick).replace(".0 s", " s")) });
    const whole = { incrs: [1, 2, 5].flatMap((first) => [...Array(9).keys()].map((power) => first * 10 ** power)).sort((one, other) => one - other) };
    const total = (values) => values.reduce((sum, value) => sum + value, 0);
    const refusals = total(line.refusals);
    const figures = [
      ["Objects and bytes", `${many(total(line.objects), "object")}, ${size(total(line.bytes))} in ${duration(times.length * line.step)}`, [
        [0, ...times], [0, ...cumulated(line.objects)], [0, ...cumulated(line.bytes)]], {
        axes: [clock, axis({ scale: "objects", size: 60, ...whole, values: (_, ticks) => ticks.map((tick) => number(tick)) }), axis({ scale: "bytes", side: 1, size: 70, grid: { show: false }, values: (_, ticks) => ticks.map(size) })],
        series: [{ label: "time", value: (_, value) => value === null ? "" : duration(value) },
          { label: "objects", scale: "objects", stroke: color("--plot1"), width: 2, value: (_, value) => value === null ? "" : number(value) },
          { label: "bytes", scale: "bytes", stroke: color("--plot2"), width: 2, dash: [6, 4], value: (_, value) => value === null ? "" : size(value) }],
      }],
      ["Rate and refusals", `${size(Math.max(...line.bytes) / line.step)}/s at most, ${many(refusals, "refusal")}`, [
        times, line.bytes.map((bytes) => bytes / line.step), line.refusals.map((count) => count || null)], {
        axes: [clock, axis({ scale: "rate", size: 70, values: (_, ticks) => ticks.map((tick) => `${size(tick)}/s`) }), axis({ scale: "refusals", side: 1, grid: { show: false }, ...whole })],
        scales: { refusals: { range: (_, low, high) => [0, Math.max(high || 1, 1) + 1] }, rate: { range: (_, low, high) => [0, (high || 1) * 1.1] } },
        series: [{ label: "time", value: (_, value) => value === null ? "" : duration(value) },
          { label: "rate", scale: "rate", stroke: color("--plot1"), fill: color("--plot1"), paths: uPlot.paths.bars({ size: [0.9, 40] }), points: { show: false }, value: (_, value) => value === null ? "" : `${size(value)}/s` },
          { label: "refusals", scale: "refusals", stroke: color("--plot3"), paths: () => null, points: { show: true, size: 8, fill: color("--plot3") }, value: (_, value) => value === null ? "0" : number(value) }],
      }],
    ];
    const sizes = extra.sizes || [];
    if (sizes.length) {
      const usual = sizes.reduce((best, one) => (one[1] > best[1] ? one : best))[0];
      const bounds = sizes.map(([power]) => 2 ** power);
      figures.push(["Sizes of objects", `most often ${size(2 ** usual)} to ${size(2 ** (usual + 1))}`, [
        sizes.map((_, index) => index), sizes.map(([, count]) => count)], {
        scales: { x: { time: false, range: [-0.7, sizes.length - 0.3] }, objects: { range: (_, low, high) => [0, (high || 1) * 1.1] } },
        axes: [axis({ splits: () => sizes.map((_, index) => index), values: (_, ticks) => ticks.map((tick) => size(bounds[tick] ?? 0)), rotate: -45, size: 60 }), axis({ scale: "objects", size: 60, ...whole, values: (_, ticks) => ticks.map((tick) => number(tick)) })],
        series: [{ label: "from", value: (_, value) => value === null ? "" : size(bounds[value] ?? 0) },
          { label: "objects", scale: "objects", stroke: color("--plot1"), fill: color("--plot1"), paths: uPlot.paths.bars({ size: [0.85, 60] }), points: { show: false } }],
      }]);
    }
    $("plots").replaceChildren();
    for (const [title, words, data, options] of figures) {
      const place = node("div", { role: "img", "aria-label": `${title}: ${words}` });
      $("plots").append(node("figure", {}, node("figcaption", {}, node("strong", {}, title), `: ${words}`), place));
      const width = Math.max(place.clientWidth, 240);
      plots.push(new uPlot({ width, height: Math.min(260, Math.round(width * 0.6)), ...options, scales: { x: { time: false }, ...options.scales }, cursor: { y: false } }, data, place));
    }
  }

  function fitPlots() {
    for (const plot of plots) {
      const width = Math.max(plot.root.parentElement.clientWidth, 240);
      if (width !== plot.width) plot.setSize({ width, height: Math.min(260, Math.round(width * 0.6)) });
    }
  }

  // -- all of it ------------------------------------------------------------------------------------------------------

  function drawErrors() {
    const errors = (report.errors || []).slice(0, 100);
    $("remarks").hidden = !errors.length;
    $("errors").replaceChildren(...errors.map((error) => node("li", {}, text(error))));
  }

  function draw() {
    drawHead();
    drawFailures();
    drawFilter();
    choose();
    drawErrors();
    drawPlots();
  }

  function begin() {
    drawColumns();
    $("filter").addEventListener("submit", (event) => event.preventDefault());
    let waiting = 0;
    $("words").addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(() => { most = PAGE; choose(); }, 80); });
    $("reason").addEventListener("change", () => { most = PAGE; choose(); });
    $("clear").addEventListener("click", () => filterBy({ words: "", reason: "", states: [] }));
    addEventListener("keydown", (event) => {
      const typing = event.target.closest?.("input, select, textarea");
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key === "/" && !typing) { event.preventDefault(); $("words").focus(); $("words").select(); }
      else if (event.key === "Escape" && (typing || $("words").value)) { filterBy({ words: "", reason: "", states: [] }); }
      else if (event.key === "ArrowDown" && (event.target === $("words") || event.target.closest?.("#rows"))) { event.preventDefault(); focusRow(event.target === $("words") ? 0 : current + 1); }
      else if (event.key === "ArrowUp" && event.target.closest?.("#rows")) { event.preventDefault(); if (current === 0) $("words").focus(); else focusRow(current - 1); }
      else if (event.key === "Home" && event.target.closest?.("#rows")) { event.preventDefault(); focusRow(0); }
      else if (event.key === "End" && event.target.closest?.("#rows")) { event.preventDefault(); focusRow(Math.min(most, chosen.length) - 1); }
    });
    let fitting = 0;
    addEventListener("resize", () => { cancelAnimationFrame(fitting); fitting = requestAnimationFrame(fitPlots); });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawPlots);
    addEventListener("beforeprint", () => { most = Math.max(most, 5000); drawRows(); });
    new IntersectionObserver((seen) => { if (seen.some((one) => one.isIntersecting) && chosen.length > most) showMore(); }, { rootMargin: "600px" }).observe($("more"));
    const data = JSON.parse($("data").textContent);
    if (data.report) {
      load(data);
      draw();
      if (entries.length === 1) toggle(entries[0].row);
    } else live(data);
    document.documentElement.dataset.ready = "yes";
  }

  // -- a page of a run that goes on -----------------------------------------------------------------------------------

  function live() {
    document.body.classList.add("live");
    $("controls").hidden = false;
    $("buttons").append(
      button("Pause", () => order_(extra.run?.paused ? "resume" : "pause"), { id: "pause" }), " ",
      button("Cancel the run", () => { if (confirm("Cancel the run?")) order_("cancel"); }, { id: "cancel" }));
    report = { entries: [], errors: [], counts: true };
    extra = { live: true, listed: true, controls: true, run: {} };
    ended = false;
    let plotted = 0;
    const source = new EventSource("events");
    source.onopen = () => { $("connection").hidden = true; };
    source.onerror = () => {
      if (ended) return;
      $("connection").hidden = false;
      $("connection").textContent = "No connection to movescu; trying again";
    };
    source.onmessage = (event) => {
      const told = JSON.parse(event.data), first = told.whole;
      if (first) { byRow = new Map(); drawn.clear(); plotted = 0; }
      for (const entry of told.report.entries) byRow.set(entry.row, entry);
      const changed = told.report.entries.length > 0;
      Object.assign(report, told.report);
      Object.assign(extra, told.page);
      if (first || changed) entries = report.entries = [...byRow.values()].sort((one, other) => one.row - other.row);
      report.entries = entries;
      if (told.ended) end(source);
      else { report.size = extra.run.size; report.stored = extra.run.stored; }
      drawHead();
      drawRun();
      if (first || changed || ended) { drawFailures(); drawFilter(); choose(); }
      const now = performance.now();
      if (first || ended || now - plotted > 3000) { plotted = now; drawPlots(); }
    };
  }

  function end(source) {
    source.close();
    ended = true;
    $("pause").disabled = $("cancel").disabled = true;
    $("answer").textContent = "The run has ended. This page stays until you close or reload it.";
    for (const row of open) drawn.get(row)?.details?.querySelector(".retry")?.remove();
  }

  function drawRun() {
    const run = extra.run;
    $("pause").textContent = run.paused ? "Resume" : "Pause";
    $("pause").disabled = $("cancel").disabled = ended || Boolean(run.cancelled);
    const lines = (run.archives || []).map((archive) => {
      const words = [`${archive.under_way} of ${many(archive.slots, "slot")} in use`, many(archive.refusals, "refusal")];
      if (archive.away) words.push(`away: next C-ECHO in ${duration(archive.away.next)}, given up in ${duration(archive.away.given_up)}`);
      if (archive.stop) words.push(`no more requests: ${archive.stop}`);
      return node("p", {}, node("strong", {}, text(archive.title)), " ", text(`${archive.address}: ${words.join(", ")}`));
    });
    if (run.opens_in) lines.push(node("p", {}, `Waiting for the time of --between: ${duration(run.opens_in)}`));
    lines.push(node("p", {}, `${size(run.rate || 0)}/s over the last 10 s, ${many(run.senders || 0, "storage association")} open`));
    $("archives").replaceChildren(...(ended ? [] : lines));
    drawCluster(ended ? [] : run.workers || []);
    const jobs = ended ? [] : run.jobs || [];
    $("workers").replaceChildren(...(jobs.length ? [node("table", {}, node("caption", { class: "faint" }, `${many(jobs.length, "request")} under way`),
      node("thead", {}, node("tr", {}, ...["Entry", "Requested", "Since", "Objects", "Size", "Last object", "Doing"].map((words) => node("th", { scope: "col" }, words)))),
      node("tbody", {}, ...jobs.map((job) => node("tr", {},
        node("td", { class: "number" }, String(job.row)), node("td", {}, text(byRow.has(job.row) ? keysOf(byRow.get(job.row)) : "")),
        node("td", { class: "number" }, duration(job.seconds)), node("td", { class: "number" }, `${number(job.stored)}${job.needed === null ? "" : ` of ${number(job.needed)}`}`),
        node("td", { class: "number" }, size(job.size)), node("td", {}, job.last === null ? "none yet" : `${duration(job.last)} ago`), node("td", {}, text(job.doing))))))] : []));
  }

  function drawCluster(workers) {
    const doing = (job) => `entry ${job.row}: ${job.doing}${job.stored ? `, ${many(job.stored, "object")}` : ""}`;
    $("cluster").replaceChildren(...(workers.length ? [node("table", {}, node("caption", { class: "faint" }, many(workers.length, "worker")),
      node("thead", {}, node("tr", {}, ...["Worker", "Receives at", "State", "Doing"].map((words) => node("th", { scope: "col" }, words)))),
      node("tbody", {}, ...workers.map((worker) => node("tr", {},
        node("th", { scope: "row" }, text(worker.title)), node("td", {}, text(worker.address)), node("td", {}, text(worker.state)),
        node("td", {}, text(worker.jobs.map(doing).join("; ") || "nothing"))))))] : []));
  }

  async function order_(what, row = 0) {
    try {
      const reply = await fetch("do", { method: "POST", body: JSON.stringify({ do: what, row }), headers: { "Content-Type": "application/json" } });
      $("answer").textContent = reply.ok ? (await reply.json()).answer : "movescu refused the order";
    } catch {
      $("answer").textContent = "movescu cannot be reached: the run has ended, perhaps";
    }
  }

  begin();
})();
