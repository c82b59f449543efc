package html

import (
	"fmt"
	"path/filepath"
	"strings"
)

// Title names captures for the head of a page, without their directories.
func Title(files []string) string {
	const shown = 3
	var names []string
	for _, file := range files[:min(len(files), shown)] {
		if file == "-" {
			file = "standard input"
		}
		names = append(names, filepath.Base(file))
	}
	if more := len(files) - shown; more > 0 {
		names = append(names, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(names, ", ")
}
