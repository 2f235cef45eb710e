/* Nothing of the sweep is drawn by the script but its progress line; see answers.js. */
