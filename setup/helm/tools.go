//go:build tools

// Package helm keeps what renders and checks the chart in the tests in go.mod.
package helm

import (
	_ "github.com/yannh/kubeconform/cmd/kubeconform"
	_ "helm.sh/helm/v3/cmd/helm"
)
