/* Work that must not delay a frame of the slider. */

const QUICK_MS = 3;
const REST_MS = 150; // without another call
const WORDS_MS = 80;

export const whenIdle = window.requestIdleCallback || ((run) => setTimeout(run, 50));

/* Gives a function that has `run` called once the browser has nothing else to do, however often it is called till then;
   where `run` takes long, once the calls have come to rest. */
export function later(run) {
  let timer = 0;
  let slow = false;
  const timed = () => {
    const began = performance.now();
    run();
    slow = performance.now() - began > QUICK_MS;
  };
  return () => {
    clearTimeout(timer);
    timer = setTimeout(() => whenIdle(timed), slow ? REST_MS : 0);
  };
}

/* The same for words that nobody reads while the slider moves: `run` is called once the calls have come to rest. */
export function whenResting(run) {
  let timer = 0;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(run, WORDS_MS);
  };
}
