// Connectivity reads Kubernetes objects as YAML from standard input, and writes who can open connections to whom by
// their NetworkPolicies: one line for each pair of workloads, with the ports. What no line says is shut.
// Cyclonus decides; this program only asks it about every pair. Its argument is the namespace of objects that name none.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"sort"
	"strings"

	"github.com/mattfenwick/cyclonus/pkg/matcher"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

// Workload is a group of pods with the same labels, or something outside of the cluster.
type workload struct {
	name  string
	ports []corev1.ContainerPort
	peer  *matcher.TrafficPeer
}

type objects struct {
	namespace  string
	policies   []*networkingv1.NetworkPolicy
	namespaces map[string]map[string]string
	workloads  []workload
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: connectivity NAMESPACE <OBJECTS")
		os.Exit(2)
	}
	found, err := read(bufio.NewReader(os.Stdin), os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
	for _, line := range connections(found) {
		fmt.Println(line)
	}
}

func read(input *bufio.Reader, namespace string) (*objects, error) {
	found := &objects{namespace: namespace, namespaces: map[string]map[string]string{}}
	documents := utilyaml.NewYAMLReader(input)
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if err := found.add(document); err != nil {
			return nil, fmt.Errorf("%w in:\n%s", err, document)
		}
	}
	if len(found.policies) == 0 || len(found.workloads) == 0 {
		return nil, errors.New("no NetworkPolicies or no workloads in the input")
	}
	for index := range found.workloads {
		peer := found.workloads[index].peer.Internal
		labels, known := found.namespaces[peer.Namespace]
		if !known {
			return nil, fmt.Errorf("%s is in a namespace that is not in the input", found.workloads[index].name)
		}
		peer.NamespaceLabels = labels
	}
	found.workloads = append(found.workloads, workload{name: "outside", peer: &matcher.TrafficPeer{IP: "192.0.2.1"}})
	return found, nil
}

func (o *objects) add(document []byte) error {
	var kind metav1.TypeMeta
	if err := yaml.Unmarshal(document, &kind); err != nil {
		return err
	}
	switch kind.Kind {
	case "NetworkPolicy":
		policy := &networkingv1.NetworkPolicy{}
		if err := yaml.UnmarshalStrict(document, policy); err != nil {
			return err
		}
		policy.Namespace = o.in(policy.Namespace)
		o.policies = append(o.policies, policy)
	case "Namespace":
		namespace := corev1.Namespace{}
		if err := yaml.Unmarshal(document, &namespace); err != nil {
			return err
		}
		labels := map[string]string{"kubernetes.io/metadata.name": namespace.Name}
		for name, value := range namespace.Labels {
			labels[name] = value
		}
		o.namespaces[namespace.Name] = labels
	case "StatefulSet", "Deployment":
		// Both have what matters here at the same places.
		set := appsv1.StatefulSet{}
		if err := yaml.Unmarshal(document, &set); err != nil {
			return err
		}
		set.Namespace = o.in(set.Namespace)
		o.workloads = append(o.workloads, of(&set))
	}
	return nil
}

func (o *objects) in(namespace string) string {
	if namespace == "" {
		return o.namespace
	}
	return namespace
}

func of(set *appsv1.StatefulSet) workload {
	ports := []corev1.ContainerPort{}
	for _, container := range set.Spec.Template.Spec.Containers {
		ports = append(ports, container.Ports...)
	}
	peer := &matcher.InternalPeer{Namespace: set.Namespace, PodLabels: set.Spec.Template.Labels}
	// The address is in no policy's block but in those that mean everywhere.
	internal := &matcher.TrafficPeer{Internal: peer, IP: "10.244.0.1"}
	return workload{name: set.Namespace + "/" + set.Name, ports: ports, peer: internal}
}

func connections(found *objects) []string {
	policy := matcher.BuildNetworkPolicies(true, found.policies)
	var lines []string
	for _, from := range found.workloads {
		for _, to := range found.workloads {
			if from.name == "outside" && to.name == "outside" {
				continue
			}
			if open := openPorts(policy, from, to); len(open) > 0 {
				lines = append(lines, fmt.Sprintf("%s -> %s: %s", from.name, to.name, strings.Join(open, ", ")))
			}
		}
	}
	sort.Strings(lines)
	return lines
}

// OpenPorts asks for every port that the destination declares and for one that nobody does, which stands for all.
func openPorts(policy *matcher.Policy, from, to workload) []string {
	undeclared := corev1.ContainerPort{Name: "any other port", ContainerPort: 1, Protocol: corev1.ProtocolTCP}
	ports := append(append([]corev1.ContainerPort{}, to.ports...), undeclared)
	if to.peer.Internal == nil {
		for _, known := range []int32{53, 443, 5672, 6443, 9042, 15672, 27017} {
			ports = append(ports, corev1.ContainerPort{ContainerPort: known, Protocol: corev1.ProtocolTCP})
		}
	}
	var open []string
	for _, port := range ports {
		protocol := port.Protocol
		if protocol == "" {
			protocol = corev1.ProtocolTCP
		}
		traffic := &matcher.Traffic{
			Source: from.peer, Destination: to.peer,
			ResolvedPort: int(port.ContainerPort), ResolvedPortName: port.Name, Protocol: protocol,
		}
		if policy.IsTrafficAllowed(traffic).IsAllowed() {
			open = append(open, strings.TrimSpace(fmt.Sprintf("%s %s", label(port), strings.TrimPrefix(string(protocol), "TCP"))))
		}
	}
	return open
}

func label(port corev1.ContainerPort) string {
	switch {
	case port.ContainerPort == 1:
		return port.Name
	case port.Name == "":
		return fmt.Sprint(port.ContainerPort)
	default:
		return fmt.Sprintf("%s (%d)", port.Name, port.ContainerPort)
	}
}
