// Tests in Go against a registry with real images.
//
//	pier testdata init alpine:3.22=alpine:3.22
//	cd examples/real-registry && TESTDATA=../../testdata REPOSITORY=alpine TAG=3.22 go test
//
// PIER names the program, TESTDATA the folder of images. Nothing but the standard library is needed.
package registry

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"testing"
	"time"
)

const accept = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json"

// A registry is what `pier testdata run --json` says of itself, and a client that trusts it.
type registry struct {
	URL      string `json:"url"`
	Username string `json:"username"`
	Password string `json:"password"`
	CA       string `json:"ca_pem"`
	client   *http.Client
}

// start runs a registry until the end of the test. It ends with its standard input, so also when the tests are killed.
func start(t *testing.T) *registry {
	t.Helper()
	command := exec.Command(variable("PIER", "pier"), "testdata", "run", "--json", "--tls", "--auth", "tester",
		"--storage-dir", variable("TESTDATA", "testdata"))
	input, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	output, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		input.Close()
		if err := command.Wait(); err != nil {
			t.Error(err)
		}
	})
	// One line, when it is ready.
	line, err := bufio.NewReader(output).ReadBytes('\n')
	if err != nil {
		t.Fatal(err)
	}
	var said registry
	if err := json.Unmarshal(line, &said); err != nil {
		t.Fatal(err)
	}
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM([]byte(said.CA))
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trusted}}
	t.Cleanup(transport.CloseIdleConnections)
	said.client = &http.Client{Transport: transport, Timeout: 20 * time.Second}
	return &said
}

func (r *registry) get(t *testing.T, path, password string) (*http.Response, []byte) {
	t.Helper()
	request, err := http.NewRequest(http.MethodGet, r.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Accept", accept)
	request.SetBasicAuth(r.Username, password)
	response, err := r.client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, body
}

func TestTheDigestIsThatOfTheBytes(t *testing.T) {
	t.Parallel()
	registry := start(t)
	manifests := "/v2/" + variable("REPOSITORY", "alpine") + "/manifests/"
	response, manifest := registry.get(t, manifests+variable("TAG", "latest"), registry.Password)
	digest := fmt.Sprintf("sha256:%x", sha256.Sum256(manifest))
	if said := response.Header.Get("Docker-Content-Digest"); said != digest {
		t.Fatalf("its bytes are %s, it said %s", digest, said)
	}
	if _, again := registry.get(t, manifests+digest, registry.Password); !bytes.Equal(manifest, again) {
		t.Fatal("by digest it is another")
	}
}

func TestWhoDoesNotLogInIsRefused(t *testing.T) {
	t.Parallel()
	registry := start(t)
	if response, _ := registry.get(t, "/v2/", "wrong"); response.StatusCode != http.StatusUnauthorized {
		t.Fatalf("it said %s", response.Status)
	}
}

func variable(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}
