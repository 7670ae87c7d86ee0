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
kubectl --namespace "$NAMESPACE" rollout status deployment/simbdp-operator --timeout=180s
kubectl wait --for=create --timeout=120s broker/default >/dev/null
kubectl wait --for=condition=Ready --timeout=300s broker/default
