package container

import (
	"fmt"
	"strings"

	"github.com/anyvip/anyvip/lab"
)

// testLabFile runs lab/ecmp.clab.yml as containerlab does: containers without a
// network, then links, then exec lines. It is stricter: they have the
// capabilities that the file names and no more, where containerlab's are
// privileged.
func testLabFile(e *engine) {
	topo, err := lab.Load("../ecmp.clab.yml")
	if err != nil {
		e.t.Fatal(err)
	}
	pids := map[string]string{}
	for _, n := range topo.Nodes {
		argv := []string{"docker", "run", "--detach", "--name", n.Name, "--hostname", n.Hostname, "--network", "none",
			"--cap-add", "NET_ADMIN", "--cap-add", "NET_RAW"}
		for key, value := range n.Sysctls {
			argv = append(argv, "--sysctl", key+"="+value)
		}
		for _, b := range n.Binds {
			argv = append(argv, "--volume", b.Source+":"+b.Target+":ro")
		}
		e.run(append(append(argv, n.Image), n.Cmd...)...)
		pids[n.Name] = strings.TrimSpace(e.run("docker", "inspect", "--format", "{{.State.Pid}}", n.Name))
	}
	for _, l := range topo.Links {
		e.run("ip", "link", "add", l.A.Interface, "netns", pids[l.A.Node], "type", "veth", "peer", "name", l.B.Interface, "netns", pids[l.B.Node])
		for _, end := range []lab.Endpoint{l.A, l.B} {
			e.run("nsenter", "--net", "--target", pids[end.Node], "ip", "link", "set", end.Interface, "up")
		}
	}
	for _, n := range topo.Nodes {
		for _, line := range n.Exec {
			e.run(append([]string{"docker", "exec", n.Name}, line...)...)
		}
	}
	for _, target := range []string{"http://192.0.2.10/", "http://[2001:db8:10::10]/"} {
		eventually(e.t, patience, func() error {
			sum := e.summaryOf(e.run("docker", "exec", "client", "anyvip-lab", "load", "--target", target, "--spread", "100"))
			if sum.Failed > 0 || len(sum.Servers) != 3 {
				return fmt.Errorf("100 connections to %s: %d failed %v, servers %v", target, sum.Failed, sum.Failures, sum.Servers)
			}
			return nil
		})
	}
}
