package cmd

import (
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// The release file is one that can be read, builds what CI builds, and names
// files that are there. What goreleaser makes of it is for goreleaser to say.
func TestRelease(t *testing.T) {
	text, err := os.ReadFile("../.goreleaser.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var release struct {
		Version  int
		Builds   []struct{ Env, Goos, Goarch []string }
		Archives []struct {
			Files []struct{ Src string }
		}
		NFPMs []struct {
			Formats  []string
			Scripts  struct{ Postinstall string }
			Contents []struct{ Src, Dst string }
		}
		SBOMs []struct{ Artifacts string }
	}
	if err := yaml.Unmarshal(text, &release); err != nil {
		t.Fatal(err)
	}
	if release.Version != 2 || len(release.Builds) != 1 || len(release.NFPMs) != 1 || len(release.SBOMs) != 1 {
		t.Fatalf("the release is %+v", release)
	}
	build, deb := release.Builds[0], release.NFPMs[0]
	if !slices.Contains(build.Env, "CGO_ENABLED=0") || strings.Join(build.Goos, " ") != "linux darwin windows" || strings.Join(build.Goarch, " ") != "amd64 arm64" {
		t.Errorf("the builds are %+v", build)
	}
	ci, err := os.ReadFile("../.ci/run")
	if err != nil {
		t.Fatal(err)
	}
	for _, platform := range []string{"linux/arm64", "darwin/arm64", "windows/amd64"} {
		if !strings.Contains(string(ci), platform) {
			t.Errorf("CI does not build %s, which is released", platform)
		}
	}
	script, err := os.ReadFile(filepath.Join("..", deb.Scripts.Postinstall))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(script), "setcap cap_net_raw") || strings.Join(deb.Formats, " ") != "deb" {
		t.Errorf("the package %+v sets no capabilities", deb)
	}
	if len(release.Archives) != 1 {
		t.Fatalf("the archives are %+v", release.Archives)
	}
	for file := range reachable(pages(t)) {
		if ext := filepath.Ext(file); ext != ".md" && ext != ".png" || file == "CONTRIBUTING.md" {
			continue // what pages name of the sources, and say about them, is for who has them
		}
		if !slices.ContainsFunc(release.Archives[0].Files, func(f struct{ Src string }) bool {
			ok, err := path.Match(f.Src, file)
			return ok && err == nil
		}) {
			t.Errorf("no archive has %s, to which links lead from README.md", file)
		}
	}
	for _, c := range deb.Contents {
		if _, err := os.Stat(filepath.Join("..", c.Src)); err != nil && !strings.HasPrefix(c.Src, ".release/out/") {
			t.Error(err)
		}
	}
}
