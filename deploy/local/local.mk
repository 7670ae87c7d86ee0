# The local cluster and the images, for the Makefile at the root to include.
# SIMBDP_CLUSTER=current uses the cluster of the current kubeconfig instead, and SIMBDP_REGISTRY the registry that
# it takes the image simbdp from.
# SIMBDP_LOCAL_DIR is where everything built and stored lies (default: .local).

PROFILE ?= dev
CARGO_FEATURES ?=

IMAGES = simbdp cassandra mongodb rabbitmq clientbatchingestapp clientstreamingestapp
.PHONY: cluster cluster-down cluster-test images $(IMAGES:%=image-%)

## cluster: bring the local cluster up; safe to repeat
cluster:
	@deploy/local/up.sh

## cluster-down: take the local cluster down and remove its state
cluster-down:
	@deploy/local/down.sh

## cluster-test: prove that the local cluster works; kills and restarts it
cluster-test:
	@deploy/local/test.sh

## images: build all images and give them to the local cluster
images:
	@PROFILE='$(PROFILE)' CARGO_FEATURES='$(CARGO_FEATURES)' deploy/local/images.sh

## image-NAME: build and load one of simbdp, cassandra, mongodb, rabbitmq, clientbatchingestapp, clientstreamingestapp
$(IMAGES:%=image-%): image-%:
	@PROFILE='$(PROFILE)' CARGO_FEATURES='$(CARGO_FEATURES)' deploy/local/images.sh $*
