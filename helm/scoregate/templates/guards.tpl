{{- /*
What cannot work is refused before anything is applied: every problem at once, each a sentence with its key.
Some of it the schema refuses too; this is what remains for --skip-schema-validation.
*/ -}}
{{- $problems := list }}
{{- $owned := list "arm" "checkpoint_dir" "checkpoint_key_file" "checkpoint_s" "env" "home" "hash_key_file" "keys_file" "ledger_segment" "ledger_segment_bytes" "ledger_segment_dir" "ledger_url" "model_dir" "otlp_endpoint" "registry" "registry_url" "store_url" }}
{{- if not .Values.services }}
{{- $problems = append $problems "services is empty: name at least one service, such as `services.fraud: {}`." }}
{{- end }}
{{- range $name, $_ := .Values.services }}
{{- $context := dict "root" $ "name" $name }}
{{- $service := include "scoregate.service" $context | fromYaml }}
{{- $arms := (include "scoregate.arms" $context | fromYaml).arms }}
{{- $weight := $service.canary.weight }}
{{- if or (lt (int $weight) 0) (gt (int $weight) 100) }}
{{- $problems = append $problems (printf "services.%s.canary.weight is %v: it must be a percentage from 0 to 100." $name $weight) }}
{{- end }}
{{- if and (gt (int $weight) 0) (eq (len $arms) 1) }}
{{- $problems = append $problems (printf "services.%s.canary.weight is %v, but there is no canary to send traffic to: set services.%s.canary.tag, digest or model, or set the weight to 0." $name $weight $name) }}
{{- end }}
{{- if eq (len $arms) 2 }}
{{- $stable := index $arms 0 }}
{{- $canary := index $arms 1 }}
{{- if and (eq $stable.image $canary.image) (eq $stable.model $canary.model) }}
{{- $problems = append $problems (printf "services.%s.canary is the same as stable (image %s, model %s), so there is nothing to compare: change its tag, digest or model, or remove it." $name $canary.image $canary.model) }}
{{- end }}
{{- end }}
{{- range $owned }}
{{- if hasKey $service.settings . }}
{{- $problems = append $problems (printf "services.%s.settings.%s belongs to the chart, which sets it from other values: remove it." $name .) }}
{{- end }}
{{- end }}
{{- if and $service.autoscaling.enabled (gt (int (max $service.replicas $service.canary.replicas)) (int $service.autoscaling.maxReplicas)) }}
{{- $problems = append $problems (printf "services.%s.autoscaling.maxReplicas is %v, which is less than the replicas to start from: raise it to at least %v." $name $service.autoscaling.maxReplicas (max $service.replicas $service.canary.replicas)) }}
{{- end }}
{{- if eq $name "worker" }}
{{- $problems = append $problems "services.worker would share its name with the worker: give the service's folder another one." }}
{{- end }}
{{- if gt (len (include "scoregate.name" $context)) 56 }}
{{- $problems = append $problems (printf "The release name %s is too long for services.%s: together they may have 56 characters, since a Kubernetes name ends at 63." $.Release.Name $name) }}
{{- end }}
{{- end }}
{{- with .Values.worker }}
{{- if .enabled }}
{{- if lt (int .shards) 1 }}
{{- $problems = append $problems (printf "worker.shards is %v: at least one has to count; with worker.enabled=false none does." .shards) }}
{{- end }}
{{- range append $owned "project" }}
{{- if hasKey $.Values.worker.settings . }}
{{- $problems = append $problems (printf "worker.settings.%s belongs to the chart, which sets it from other values: remove it." .) }}
{{- end }}
{{- end }}
{{- if not (or .data.existingClaim .data.ephemeral) }}
{{- $problems = append $problems "worker.data names no place for history and the copy of events, from which a lost store is filled: set worker.data.existingClaim, or accept with worker.data.ephemeral=true that after such a loss every entity looks new." }}
{{- end }}
{{- if and .data.existingClaim .data.ephemeral }}
{{- $problems = append $problems "worker.data names more than one place for history and the copy of events: keep one of worker.data.existingClaim and worker.data.ephemeral." }}
{{- end }}
{{- range $name, $_ := $.Values.services }}
{{- $project := (include "scoregate.service" (dict "root" $ "name" $name) | fromYaml).settings.project }}
{{- if ne $project $.Values.defaults.settings.project }}
{{- $problems = append $problems (printf "services.%s.settings.project is %s, but the worker counts for defaults.settings.project, %s: the features of %s would be stale. Set it under defaults." $name $project $.Values.defaults.settings.project $name) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- if and .Values.demo.enabled (not .Values.demo.existingSecret) }}
{{- $problems = append $problems "demo.enabled is true, but demo.existingSecret is empty, and without a key nothing can be told: name a Secret that holds a raw key in demo.key." }}
{{- end }}
{{- range $name := list "before" "demo" "features" "helm-test" "rollout" }}
{{- if hasKey ($.Values.services | default dict) $name }}
{{- $problems = append $problems (printf "services.%s would share its name with a part of the chart: give the service's folder another one." $name) }}
{{- end }}
{{- end }}
{{- with .Values.gateway }}
{{- if and (not .create) (not .parentRefs) }}
{{- $problems = append $problems "gateway.create is false and gateway.parentRefs is empty, so no traffic would arrive: name the Gateway that carries the routes, or let the chart make one." }}
{{- end }}
{{- if and .create .parentRefs }}
{{- $problems = append $problems "gateway.create is true and gateway.parentRefs is not empty: choose one, so that it is clear which Gateway carries the routes." }}
{{- end }}
{{- end }}
{{- if not .Values.keys.existingSecret }}
{{- $problems = append $problems "keys.existingSecret is empty, and without API keys the door opens to nobody: name a Secret that holds keys.json." }}
{{- end }}
{{- if not .Values.hashKey.existingSecret }}
{{- $problems = append $problems "hashKey.existingSecret is empty, and without a hash key no identifier can be recorded: name a Secret that holds hash.key." }}
{{- end }}
{{- if not (or .Values.onlineStore.url .Values.onlineStore.existingSecret) }}
{{- $problems = append $problems "onlineStore.url and onlineStore.existingSecret are both empty, so there would be no features: set one of them." }}
{{- end }}
{{- $ways := 0 }}
{{- range list .Values.ledger.url.existingSecret .Values.ledger.sqlite.existingClaim .Values.ledger.sqlite.ephemeral }}
{{- if . }}{{ $ways = add1 $ways }}{{ end }}
{{- end }}
{{- if eq (int $ways) 0 }}
{{- $problems = append $problems "ledger names no place to record decisions: set ledger.url.existingSecret or ledger.sqlite.existingClaim, or accept with ledger.sqlite.ephemeral=true that a pod takes its decisions with it." }}
{{- end }}
{{- if gt (int $ways) 1 }}
{{- $problems = append $problems "ledger names more than one place to record decisions: keep one of ledger.url.existingSecret, ledger.sqlite.existingClaim and ledger.sqlite.ephemeral." }}
{{- end }}
{{- $problems = concat $problems (include "scoregate.ledgerProblems" (dict "root" .) | fromYaml).problems }}
{{- $problems = concat $problems (include "scoregate.batchProblems" (dict "root" .) | fromYaml).problems }}
{{- $problems = concat $problems (include "scoregate.monitoringProblems" (dict "root" .) | fromYaml).problems }}
{{- $problems = concat $problems (include "scoregate.argoProblems" (dict "root" .) | fromYaml).problems }}
{{- $problems = concat $problems (include "scoregate.retrainProblems" (dict "root" .) | fromYaml).problems }}
{{- with $problems }}
{{- fail (printf "\n\nThese values cannot work:\n- %s\n" (join "\n- " .)) }}
{{- end }}
