#!/usr/bin/env bash
# Installs simbdp on the cluster of the current kubeconfig with helm, and waits until it and its default Broker are ready.
# Arguments go to helm, e.g. --set log=debug. SIMBDP_REGISTRY names the registry that has the image simbdp.
set -euo pipefail
cd "$(dirname "$0")/.."
readonly NAMESPACE=${SIMBDP_NAMESPACE:-simbdp-system}

helm upgrade --install simbdp-crds charts/simbdp-crds --namespace "$NAMESPACE" --create-namespace \
  --wait --timeout 60s >/dev/null
helm upgrade --install simbdp charts/simbdp --namespace "$NAMESPACE" \
  ${SIMBDP_REGISTRY:+--set "image.repository=$SIMBDP_REGISTRY/simbdp"} "$@" >/dev/null
# What a person would ask next, when it does not become ready.
explain() {
  {
    kubectl --namespace "$NAMESPACE" get pods --output wide
    kubectl --namespace "$NAMESPACE" get brokers --output wide
    kubectl --namespace "$NAMESPACE" get events --field-selector type=Warning --sort-by .lastTimestamp | tail -n 10
    kubectl --namespace "$NAMESPACE" logs --selector app.kubernetes.io/component=operator --prefix --tail=10
    echo "error: simbdp did not become ready; above are its pods, Brokers, events and last words"
  } >&2 || true
}
trap explain ERR
kubectl --namespace "$NAMESPACE" rollout status deployment/simbdp-operator --timeout=180s
kubectl wait --for=create --timeout=120s broker/default >/dev/null
kubectl wait --for=condition=Ready --timeout=300s broker/default
