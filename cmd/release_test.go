package cmd

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// The release file is one that can be read, builds what CI builds, and names
// files that are there; what packages install is removed with them. What
// goreleaser makes of it is for goreleaser to say.
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
			Scripts  map[string]string
			Contents []struct{ Src, Dst string }
		}
		Images []struct {
			Dockerfile string
			Platforms  []string
		} `yaml:"dockers_v2"`
		Brews []struct{ Install string }
		AURs  []struct{ Install, Package string }
		SBOMs []struct{ Artifacts string }
	}
	if err := yaml.Unmarshal(text, &release); err != nil {
		t.Fatal(err)
	}
	if release.Version != 2 || len(release.Builds) != 1 || len(release.NFPMs) != 1 || len(release.SBOMs) != 1 ||
		len(release.Images) != 1 || len(release.Brews) != 1 || len(release.AURs) != 1 {
		t.Fatalf("the release is %+v", release)
	}
	build, packages, image, arch := release.Builds[0], release.NFPMs[0], release.Images[0], release.AURs[0]
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
	if strings.Join(packages.Formats, " ") != "deb rpm" || strings.Join(image.Platforms, " ") != "linux/amd64 linux/arm64" {
		t.Errorf("the packages are %v, the images %v", packages.Formats, image.Platforms)
	}
	for _, script := range []struct{ path, has string }{
		{packages.Scripts["postinstall"], "setcap cap_net_raw=ep"},
		{packages.Scripts["preremove"], "rm -rf /usr/lib/tcpwatch"},
		{packages.Scripts["postremove"], "groupdel tcpwatch"},
		{arch.Install, "setcap cap_net_raw=ep"},
		{arch.Install, "rm -rf /usr/lib/tcpwatch"},
		{arch.Install, "groupdel tcpwatch"},
		{image.Dockerfile, "FROM scratch"},
	} {
		text, err := os.ReadFile(filepath.Join("..", script.path))
		if err != nil {
			t.Error(err)
		} else if !strings.Contains(string(text), script.has) {
			t.Errorf("%s has no %q", script.path, script.has)
		}
		if strings.Contains(string(text), "setcap") && (!strings.Contains(string(text), "0750") || regexp.MustCompile(`setcap \S+ /usr/bin`).Match(text)) {
			t.Errorf("%s gives the capability to everyone", script.path)
		}
	}
	for _, name := range []string{"tcpwatch", "man/*", "completions/tcpwatch.bash", "completions/tcpwatch.zsh", "completions/tcpwatch.fish"} {
		if !strings.Contains(release.Brews[0].Install, name) || !strings.Contains(arch.Package, name) {
			t.Errorf("the formula or the PKGBUILD does not install %s", name)
		}
	}
	if len(release.Archives) != 1 {
		t.Fatalf("the archives are %+v", release.Archives)
	}
	for file := range reachable(pages(t)) {
		if ext := filepath.Ext(file); ext != ".md" && ext != ".png" {
			continue // what pages name of the sources, and say about them, is for who has them
		}
		if !slices.ContainsFunc(release.Archives[0].Files, func(f struct{ Src string }) bool {
			ok, err := path.Match(f.Src, file)
			return ok && err == nil
		}) {
			t.Errorf("no archive has %s, to which links lead from README.md", file)
		}
	}
	for _, c := range packages.Contents {
		if _, err := os.Stat(filepath.Join("..", c.Src)); err != nil && !strings.HasPrefix(c.Src, ".release/out/") {
			t.Error(err)
		}
	}
}
