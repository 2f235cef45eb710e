/* The page's entry: mounts the components that Gradio lays out, each drawn by one module of this folder. */

import * as images from "../core/images.js";
import * as select from "../core/select.js";
import * as scale from "../core/scale.js";
import { format } from "../core/format.js";
import "./files.js";
import "./tables.js";
import { about } from "./about.js";
import { answers } from "./answers.js";
import { answerStrip } from "./answer-strip.js";
import { causalMap } from "./causal-map.js";
import { compare } from "./compare.js";
import { keep } from "./keep.js";
import { masthead } from "./masthead.js";
import { notice } from "./notice.js";
import { offer } from "./offer.js";
import { picture } from "./picture.js";
import { progress } from "./progress.js";
import { saved } from "./saving.js";
import { stage } from "./stage.js";
import { page } from "./state.js";
import { sweepTable } from "./sweep.js";

const COMPONENTS = {
  about,
  answers,
  answerstrip: answerStrip,
  causalmap: causalMap,
  compare,
  keep,
  masthead,
  notice,
  offer,
  picture,
  progress,
  stage,
  sweeptable: sweepTable,
};

/* Called from the js_on_load of each gr.HTML. A component takes its element and returns what shows a value; the value
   arrives as JSON text and is only ever read as data. */
export function mount(name, element, trigger, props, watch) {
  const show = COMPONENTS[name](element, trigger);
  let last = null;
  const update = () => {
    const text = props.value;
    if (!text || text === last) return;
    last = text;
    let value;
    try {
      value = JSON.parse(text);
    } catch {
      return;
    }
    show(value);
  };
  watch("value", update);
  update();
}

/* For Gradio's event scripts (app/events.py), the browser tests and the console. Modules import one another instead. */
window.adafv = { page, core: { ...select, ...images }, scale, format, mount, saved };
