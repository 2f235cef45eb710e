/* The pure part of the page: unpacks a payload, splits a budget, says which tokens are kept and why. No DOM. */
const WHY = ["dropped", "text", "vision", "both", "floor", "forced", "method"];
const DROPPED = 0;
const TEXT = 1;
const VISION = 2;
const FLOOR = 4;
const FORCED = 5;

function bytes(base64) {
  const text = atob(base64);
  const out = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) out[i] = text.charCodeAt(i);
  return out;
}
const float32 = (base64) => new Float32Array(bytes(base64).buffer);
const uint32 = (base64) => new Uint32Array(bytes(base64).buffer);
const uint16 = (base64) => new Uint16Array(bytes(base64).buffer);

function unpack(raw) {
  const scores = Object.assign({}, raw);
  scores.t2i = float32(raw.t2i);
  scores.saliency = float32(raw.saliency);
  scores.orderText = uint32(raw.order_text);
  scores.orderVision = uint32(raw.order_vision);
  if (raw.path_text) {
    scores.pathText = uint32(raw.path_text);
    scores.pathVision = uint32(raw.path_vision);
  }
  scores.rankText = inverse(scores.orderText);
  scores.rankVision = inverse(scores.orderVision);
  scores.tables = (raw.tables || []).map(bytes);
  scores.ranking = raw.ranking ? float32(raw.ranking) : null;
  scores.words = raw.words.map(function (word) {
    const levels = uint16(word.map);
    const map = new Float32Array(levels.length);
    for (let i = 0; i < levels.length; i++) map[i] = (levels[i] / 65535) * word.peak;
    return { text: word.text, counted: word.counted, map: map };
  });
  return scores;
}

function inverse(order) {
  const rank = new Uint32Array(order.length);
  for (let i = 0; i < order.length; i++) rank[order[i]] = i;
  return rank;
}

/* Every admissible pair whose two heads together hold exactly `budget` tokens: by kText, the largest kVisual. */
function admissible(orderText, orderVision, budget) {
  const n = orderText.length;
  let most = 0;
  for (let i = 0; i < n; i++) if (orderText[i] >= most) most = orderText[i] + 1;
  const inText = new Uint8Array(most);
  const inVision = new Uint8Array(most);
  for (let i = 0; i < budget; i++) inVision[orderVision[i]] = 1;
  let kVisual = budget;
  let union = budget;
  const largest = new Uint32Array(budget + 1);
  for (let kText = 0; kText <= budget; kText++) {
    if (kText > 0) {
      const token = orderText[kText - 1];
      inText[token] = 1;
      if (!inVision[token]) union += 1;
      while (union > budget) {
        kVisual -= 1;
        const gone = orderVision[kVisual];
        inVision[gone] = 0;
        if (!inText[gone]) union -= 1;
      }
      while (kVisual < n && inText[orderVision[kVisual]]) inVision[orderVision[kVisual++]] = 1;
    }
    largest[kText] = kVisual;
  }
  return largest;
}

function runningSums(values, order) {
  const total = new Float64Array(order.length + 1);
  for (let i = 0; i < order.length; i++) total[i + 1] = total[i] + values[order[i]];
  return total;
}

/* Orders are made once and never changed, so their sums are remembered beside them. */
const remembered = new WeakMap();
function sums(values, order) {
  if (!remembered.has(order)) remembered.set(order, runningSums(values, order));
  return remembered.get(order);
}

/* By kText: the largest admissible kVisual and the geometric mean both gather; and the best split (ties: the
     smaller kText), null where the floor allows none. */
function splits(scores, budget, orderText, orderVision) {
  const sumText = sums(scores.t2i, orderText);
  const sumVision = sums(scores.saliency, orderVision);
  const least = Math.floor((scores.floor || 0) * budget);
  const kVisual = admissible(orderText, orderVision, budget);
  const mean = new Float64Array(kVisual.length);
  let best = null;
  for (let kText = 0; kText < kVisual.length; kText++) {
    const product = sumText[kText] * sumVision[kVisual[kText]];
    mean[kText] = Math.sqrt(product);
    const allowed = kText >= least && kVisual[kText] >= least;
    if (allowed && (best === null || product > best.product)) {
      best = { kText: kText, kVisual: kVisual[kText], product: product };
    }
  }
  return { kVisual: kVisual, mean: mean, best: best };
}

const counted = (count, one, many) => count + (count === 1 ? " token " + one : " tokens " + many);

function forcedOrder(order, forced) {
  return order.filter((token) => forced[token] === 0);
}

/* forced: Int8Array of 1 (keep), -1 (drop), 0; or null. step: index into scores.steps. */
function select(scores, step, forced) {
  const n = scores.n;
  const budget = scores.steps[step].budget;
  const result = {
    budget: budget,
    ratio: scores.steps[step].ratio,
    kText: 0,
    kVisual: 0,
    size: 0,
    kept: new Uint8Array(n),
    why: new Uint8Array(n),
    mixed: new Float32Array(n),
    problem: "",
  };
  if (scores.rule === "table") return selectByTable(scores, step, result);
  let orderText = scores.orderText;
  let orderVision = scores.orderVision;
  let room = budget;
  if (forced) {
    let keep = 0;
    let drop = 0;
    for (let i = 0; i < n; i++) {
      if (forced[i] > 0) keep++;
      else if (forced[i] < 0) drop++;
    }
    const held = "the budget holds " + budget + ": ";
    if (keep > budget) {
      result.problem = counted(keep, "is", "are") + " forced, " + held + "keep more, or clear some marks.";
    } else if (n - drop < budget) {
      result.problem = counted(n - drop, "is", "are") + " left, " + held + "keep fewer, or clear some marks.";
    }
    if (result.problem) return result;
    orderText = forcedOrder(orderText, forced);
    orderVision = forcedOrder(orderVision, forced);
    room = budget - keep;
  }
  let kText;
  let kVisual;
  if (!forced && scores.pathText) {
    kText = scores.pathText[budget];
    kVisual = scores.pathVision[budget];
  } else {
    const best = room > 0 ? splits(scores, room, orderText, orderVision).best : { kText: 0, kVisual: 0 };
    kText = best.kText;
    kVisual = best.kVisual;
  }
  result.kText = kText;
  result.kVisual = kVisual;
  for (let i = 0; i < kText; i++) result.why[orderText[i]] = TEXT;
  for (let i = 0; i < kVisual; i++) result.why[orderVision[i]] += VISION;
  if (scores.floor > 0 && room > 0) markFloor(scores, result, room, orderText, orderVision);
  if (forced) for (let i = 0; i < n; i++) if (forced[i] > 0) result.why[i] = FORCED;
  for (let i = 0; i < n; i++) {
    if (result.why[i] !== DROPPED) {
      result.kept[i] = 1;
      result.size++;
    }
  }
  mix(scores, result, orderText, orderVision);
  return result;
}

/* FLOOR marks tokens that the same budget would not keep with floor 0. */
function markFloor(scores, result, room, orderText, orderVision) {
  const free = splits(Object.assign({}, scores, { floor: 0 }), room, orderText, orderVision).best;
  const stays = new Uint8Array(scores.n);
  for (let i = 0; i < free.kText; i++) stays[orderText[i]] = 1;
  for (let i = 0; i < free.kVisual; i++) stays[orderVision[i]] = 1;
  for (let i = 0; i < scores.n; i++) if (result.why[i] !== DROPPED && !stays[i]) result.why[i] = FLOOR;
}

/* Section 4, in the library's arithmetic: float64 ratios, then rounded to float32. */
function mix(scores, result, orderText, orderVision) {
  const text = side(scores.t2i, orderText, result.kText);
  const vision = side(scores.saliency, orderVision, result.kVisual);
  for (let i = 0; i < scores.n; i++) {
    const value = Math.fround(Math.min(Math.max(text(i), vision(i)), FLOAT32_MAX));
    result.mixed[i] = result.kept[i] ? Math.max(value, 1) : Math.min(value, BELOW_ONE);
  }
}

function side(values, order, k) {
  if (k === 0) return () => 0;
  const last = values[order[k - 1]];
  if (last > 0) return (i) => values[i] / last;
  const head = new Set(order.subarray(0, k));
  return (i) => (head.has(i) ? 1 : 0);
}
const FLOAT32_MAX = 3.4028234663852886e38;
const BELOW_ONE = 1 - Math.pow(2, -24);

/* Methods other than adafv: the server sent, for every step, four bits a token that say why it stays, and what gives
     its mixed score: the ranking's value that stands for 1, or the scores themselves. */
function selectByTable(scores, step, result) {
  const table = scores.tables[step];
  result.problem = scores.steps[step].problem || "";
  for (let i = 0; i < scores.n; i++) {
    const why = (table[i >> 1] >> (4 * (i & 1))) & 15;
    result.why[i] = why;
    if (why !== DROPPED) {
      result.kept[i] = 1;
      result.size++;
    }
  }
  result.kText = scores.steps[step].k_text;
  result.kVisual = scores.steps[step].k_visual;
  const last = scores.steps[step].last || 0;
  const own = scores.steps[step].mixed ? float32(scores.steps[step].mixed) : null;
  for (let i = 0; i < scores.n; i++) {
    const value = own
      ? own[i]
      : last > 0
        ? Math.min(Math.fround(scores.ranking[i] / last), FLOAT32_MAX)
        : result.kept[i];
    result.mixed[i] = result.kept[i] ? Math.max(value, 1) : Math.min(value, BELOW_ONE);
  }
  return result;
}

/* The first step, so the least budget, at which the method keeps the token without any marks; -1 for none. */
function firstKept(scores, token) {
  const at = token + (scores.first || 0); // images that share a budget share its tables
  return scores.steps.findIndex((step, i) => {
    if (step.problem) return false;
    if (scores.rule === "table") return (scores.tables[i][at >> 1] >> (4 * (at & 1))) & 15;
    const { budget } = step;
    return scores.rankText[token] < scores.pathText[budget] || scores.rankVision[token] < scores.pathVision[budget];
  });
}

function tally(result) {
  const counts = {};
  for (const name of WHY) counts[name] = 0;
  for (let i = 0; i < result.why.length; i++) counts[WHY[result.why[i]]]++;
  return counts;
}

export { WHY, bytes, unpack, select, firstKept, splits, admissible, tally, FORCED };
