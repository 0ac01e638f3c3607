// Shows /openapi.json. A token stays in this tab: through a reload, and is gone with the tab.
// A link of the form /docs#token=…&reseller=… brings one; what stands behind # is sent nowhere.
const EXAMPLE_RESELLER = "bac5m1n0d8q2r7t4v6h3";

const given = new URLSearchParams(location.hash.slice(1));
if (given.has("token")) {
  for (const name of ["token", "reseller"]) {
    sessionStorage.setItem(name, given.get(name) ?? "");
  }
  history.replaceState(null, "", location.pathname);
}

const dark = matchMedia("(prefers-color-scheme: dark)");
const shade = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", shade);
shade();

// Notes what is typed in by the Authorize button.
const keepToken = () => ({
  statePlugins: {
    auth: {
      wrapActions: {
        authorize: (authorize) => (payload) => {
          sessionStorage.setItem("token", payload.bearer?.value ?? "");
          return authorize(payload);
        },
        logout: (logout) => (names) => {
          sessionStorage.clear();
          return logout(names);
        },
      },
    },
  },
});

// The path of an operation is in its button, in which no link may be; the address bar has it once opened.
const plainPaths = ({ React }) => ({
  wrapComponents: {
    DeepLink: () => ({ text }) => React.createElement("span", null, text),
  },
});

// To colour an answer takes the browser a second for each 30 KB of it, in which the page stands still.
const MOST_COLOURED = 20_000;
const plainLongAnswers = ({ React, getComponent }) => ({
  wrapComponents: {
    SyntaxHighlighter: (Coloured) => (props) =>
      props.children?.length > MOST_COLOURED
        ? React.createElement(getComponent("PlainTextViewer"), null, props.children)
        : React.createElement(Coloured, props),
  },
});

// What Swagger UI leaves without a name for those who hear the page, and how each is called.
const NAMES = {
  "#servers": () => "Server",
  ".examples-select-element": () => "Example",
  "textarea.body-param__text": () => "Request body",
  ".close-modal": () => "Close",
  "tr[data-param-name] select": (element) => element.closest("tr").dataset.paramName,
};

function name() {
  for (const [selector, called] of Object.entries(NAMES)) {
    for (const element of document.querySelectorAll(`${selector}:not([aria-label])`)) {
      element.setAttribute("aria-label", called(element));
    }
  }
  // Their text says what they do, the label other words.
  for (const button of document.querySelectorAll(".modal-ux .auth-btn-wrapper [aria-label]")) {
    button.removeAttribute("aria-label");
  }
  // By the keyboard, too, one gets at what is wider than its frame.
  for (const example of document.querySelectorAll("pre.microlight:not([tabindex])")) {
    example.tabIndex = 0;
  }
}

new MutationObserver(name).observe(document.body, {
  childList: true,
  subtree: true,
  attributes: true,
  attributeFilter: ["aria-label"],
});

async function show() {
  const text = await (await fetch("/openapi.json")).text();
  const reseller = sessionStorage.getItem("reseller");
  const ui = SwaggerUIBundle({
    spec: JSON.parse(
      /^[\w.-]+$/.test(reseller ?? "") ? text.replaceAll(EXAMPLE_RESELLER, reseller) : text,
    ),
    dom_id: "#page",
    deepLinking: true,
    displayRequestDuration: true,
    defaultModelsExpandDepth: 0,
    defaultModelExpandDepth: 3,
    persistAuthorization: false,
    plugins: [keepToken, plainPaths, plainLongAnswers],
    // The default is a badge from another site.
    validatorUrl: null,
    onComplete: () => {
      const token = sessionStorage.getItem("token");
      if (token) ui.preauthorizeApiKey("bearer", token);
    },
  });
}

show();
