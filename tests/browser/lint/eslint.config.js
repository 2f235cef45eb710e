import js from "@eslint/js";
import globals from "globals";

/* Floors: core knows no DOM, draw knows no page; a module imports from its own folder or from one below. */
const floor = (folder, forbidden, names) => ({
  files: [`**/static/${folder}/*.js`],
  languageOptions: { globals: names },
  rules: { "no-restricted-imports": ["error", { patterns: forbidden.map((name) => `**/${name}/*`) }] },
});
const withoutDom = { atob: "readonly" };

export default [
  js.configs.recommended,
  {
    linterOptions: { reportUnusedDisableDirectives: "error" },
    rules: {
      "no-var": "error",
      "prefer-const": "error",
      eqeqeq: "error",
      curly: ["error", "multi-line"],
      "one-var": ["error", "never"],
      "no-shadow": "error",
      "no-implicit-globals": "error",
      "no-restricted-properties": [
        "error",
        { property: "innerHTML", message: "Text reaches the page through textContent only." },
        { property: "outerHTML", message: "Text reaches the page through textContent only." },
        { property: "insertAdjacentHTML", message: "Text reaches the page through textContent only." },
      ],
      "no-eval": "error",
      "max-len": ["error", { code: 120 }],
      "max-lines": ["error", 260],
      "max-lines-per-function": ["error", { max: 140, skipComments: true }],
    },
  },
  floor("core", ["draw", "ui"], withoutDom),
  floor("draw", ["ui"], globals.browser),
  floor("ui", [], globals.browser),
];
