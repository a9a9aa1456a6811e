// Package container tests the container images, docker-compose.yml and
// lab/ecmp.clab.yml with a real Docker engine. It has tests only.
//
// The engine runs in a node of a lab (package lab), so that its bridges, filter
// rules, mounts and processes are the node's own and end with it; the test fails
// if the host has more of them afterwards. The engine has no network: our images
// are built by `make image`, and the one that stands for quay.io/frrouting/frr is
// made of this machine's own FRR, so what is tested is Debian's.
//
// It needs root, dockerd, docker, FRR, and docker-compose or `docker compose`.
// Where an engine is not installed the test is left out and says so, also in CI.
// An engine that is installed and does not work is a failure in CI, and leaves the
// test out elsewhere.
package container
