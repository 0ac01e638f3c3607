#!/usr/bin/env bash
# Examines deploy/ with the usual tools: `make deploy-check`. $1: the folder of those from PyPI.
set -euo pipefail
bin=$(realpath "$1")
cd "$(dirname "$0")"
tools=../build/tools
mkdir -p "$tools"

missing() { echo "$1 is missing: install $2, so that '$1' is on the PATH"; exit 1; }
command -v kubectl >/dev/null || missing kubectl "Kubernetes' client"
command -v systemd-analyze >/dev/null || missing systemd-analyze systemd

promtool=$(command -v promtool || echo "$tools/usr/bin/promtool")
if ! [ -x "$promtool" ]; then
  command -v apt-get >/dev/null || missing promtool Prometheus
  # The tool alone: installed as a package, a Prometheus would be started too.
  (cd "$tools" && { apt-get download -qq prometheus || { as_root=$([ "$(id -u)" = 0 ] || echo sudo); $as_root apt-get update -qq; apt-get download -qq prometheus; }; } >/dev/null 2>&1
    dpkg --extract prometheus_*.deb .)
fi

echo "image"
"$bin/hadolint" image/Dockerfile

echo "compose"
"$bin/check-jsonschema" --quiet --builtin-schema vendor.compose-spec compose/compose.yaml

echo "kubernetes"
for overlay in kubernetes/overlays/*/; do
  kubectl kustomize "$overlay" >"$tools/objects.yaml"
  # Kinds and fields that are unknown are errors; the oldest release that is kept up, and the newest.
  for release in 1.33 1.37; do
    "$bin/kubernetes-validate" --quiet --strict --kubernetes-version "$release" "$tools/objects.yaml"
  done
done

echo "systemd"
for unit in systemd/*.service; do
  # An exposure of 2.0 at most, of 10; the program need not be installed here.
  systemd-analyze security --offline=true --threshold=20 "$unit" >"$tools/security" || { cat "$tools/security"; exit 1; }
  systemd-analyze verify "$unit" 2>&1 | grep -v 'billing-server is not executable' && exit 1
done

echo "alerts"
"$promtool" check rules prometheus/rules.yaml >"$tools/rules" || { cat "$tools/rules"; exit 1; }
"$promtool" check config compose/prometheus.yaml --syntax-only >"$tools/rules" || { cat "$tools/rules"; exit 1; }
"$promtool" test rules prometheus/rules_test.yaml

echo "not tried here: building the image, starting Compose, a cluster or the units (docs/operators/deploy.md)"
